"""GPT's input transformations (2018, section 3.3 and figure 1): any labelled task as rows of tokens for one model.

Start, delimiter and extract are three new tokens behind the model's vocabulary, whatever its tokenizer. The answer is
read at the extract token, a row's last.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ensue.core.config import from_dict, to_dict
from ensue.tokens.tokenizer import Tokenizer

TaskName = Literal["classify", "entail", "similarity", "choice"]
NEW_TOKENS = 3


@dataclass(frozen=True)
class Marks:
    """Ids of the three new tokens (`_start_`, `_delimiter_` and `_classify_` in the paper's code)."""

    start: int
    delimiter: int
    extract: int

    @classmethod
    def behind(cls, vocabulary: int) -> Marks:
        """Those of a model that had this many tokens; 40478, 40479 and 40480 for the published GPT."""
        return cls(vocabulary, vocabulary + 1, vocabulary + 2)


@dataclass(frozen=True)
class Scale:
    """Whole numbers from `low` to `high` that a real score is spread over (STS-B has 0 to 5)."""

    low: int
    high: int

    def spread(self, score: float) -> np.ndarray:
        """(classes,) float32 that adds up to 1: the score's shares of the two whole numbers beside it.

        So has the paper's code, after Tai et al. (2015, section 4.2). A score outside the scale is taken for its end.
        """
        target = np.zeros(self.high - self.low + 1, np.float32)
        inside = min(max(score, self.low), self.high) - self.low
        below = min(int(inside), len(target) - 2)
        target[below : below + 2] = below + 1 - inside, inside - below
        return target

    def expected(self, probabilities: Sequence[float]) -> float:
        """The score that probabilities of the classes foretell."""
        return sum((self.low + place) * share for place, share in enumerate(probabilities))


@dataclass(frozen=True, kw_only=True)
class TaskShape:
    """Everything that decides how an example of one task becomes rows of tokens, and what its answers are called.

    `labels` are the classes in the order of the head's outputs; a choice has none, its answers are counted from 0, and
    nor has a similarity with a `scale`. `context` is the model's, in tokens. `columns` tells where each part stood in
    the table that the model was tuned on.
    """

    task: TaskName
    marks: Marks
    context: int
    labels: tuple[str, ...] = ()
    scale: Scale | None = None
    columns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(
                f"a context of {self.context} has no room for two texts and three marks; use a model with a longer one."
            )

    @property
    def limit(self) -> int:
        """The most tokens of one text: floor(context / 2) - 2 where a row has two, as in the paper's code."""
        return self.context - 2 if self.task == "classify" else self.context // 2 - 2

    @property
    def outputs(self) -> int:
        """How many the head has: one for each class, or one in all, which every choice is scored by."""
        if self.task == "choice":
            return 1
        return len(self.labels) if self.scale is None else self.scale.high - self.scale.low + 1

    def to_json(self) -> dict[str, Any]:
        """As task.json has it, with what a program that does not know Ensue needs to make the rows itself."""
        record: dict[str, Any] = to_dict(self)
        return {**record, "marks": asdict(self.marks), "columns": dict(self.columns), "limit": self.limit}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TaskShape:
        """Raises ValueError where it is not what `to_json` gave."""
        kept = {name: value for name, value in record.items() if name != "limit"}
        return from_dict(cls, {**kept, "columns": list(dict(kept.get("columns", {})).items())})


def segments_of(task: TaskName, first: str, second: str | Sequence[str] | None = None) -> list[tuple[str, ...]]:
    """The texts of each row of one example, in order.

    classify takes a text; entail a premise and a hypothesis; similarity two sentences, which it reads in both orders;
    choice a context and its choices, one row each. Raises ValueError for what does not fit the task.
    """
    if task == "classify":
        if second is not None:
            raise ValueError("this model classifies one text at a time; give it one: lm.classify(text)")
        return [(first,)]
    if task == "choice":
        if second is None or isinstance(second, str) or len(second) < 2:
            raise ValueError(
                "this model chooses between endings; give it a context and two choices or more: "
                "lm.classify(context, [choice, choice])"
            )
        return [(first, choice) for choice in second]
    if not isinstance(second, str):
        raise ValueError("this model reads two texts together; give it both: lm.classify(first, second)")
    return [(first, second)] if task == "entail" else [(first, second), (second, first)]


def joined(context: str, question: str) -> str:
    """Context and question as one text: a space between them, but behind writing that has none (Chinese, Japanese)."""
    if not context or not question:
        return context or question
    last = context[-1]
    wide = unicodedata.east_asian_width(last) in "WF" and "HANGUL" not in unicodedata.name(last, "")
    return f"{context}{question}" if wide or last.isspace() else f"{context} {question}"


@dataclass(frozen=True)
class Rendered:
    """The rows of one example, (T,) int32 each, and how many of its texts were cut at the shape's limit."""

    rows: tuple[np.ndarray, ...]
    cut: int


def render(shape: TaskShape, tokenizer: Tokenizer, examples: Sequence[Sequence[tuple[str, ...]]]) -> list[Rendered]:
    """Rows of tokens of examples, each given as `segments_of` gives it; a text that stands in several rows is encoded
    once. Raises ValueError for a text that has no tokens.
    """
    texts = list(dict.fromkeys(text for example in examples for row in example for text in row))
    ids = dict(zip(texts, tokenizer.encode_batch(texts), strict=True))
    return [_rendered(shape, ids, example) for example in examples]


def _rendered(shape: TaskShape, ids: Mapping[str, np.ndarray], example: Sequence[tuple[str, ...]]) -> Rendered:
    for text in (text for row in example for text in row):
        if not len(ids[text]):
            raise ValueError(f"the text {text!r} has no tokens, so there is nothing to read; give it words.")
    distinct = {text for row in example for text in row}
    cut = sum(len(ids[text]) > shape.limit for text in distinct)
    return Rendered(tuple(_row(shape, [ids[text][: shape.limit] for text in row]) for row in example), cut)


def _row(shape: TaskShape, segments: Sequence[np.ndarray]) -> np.ndarray:
    """start, the texts with a delimiter between them, extract."""
    marks = shape.marks
    pieces = [np.array([marks.start], np.int32), segments[0].astype(np.int32)]
    for segment in segments[1:]:
        pieces += [np.array([marks.delimiter], np.int32), segment.astype(np.int32)]
    return np.concatenate([*pieces, np.array([marks.extract], np.int32)])
