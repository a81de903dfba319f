"""What a task is: a small value that turns rows of a file into text, and says how answers are judged.

A row becomes an item of one of four kinds. What a model did on it is an outcome, from which metrics are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ensue.evaluate.scorer import Decoding, Scored

Row = Mapping[str, Any]
"""One row of a task's file, by its columns."""


@dataclass(frozen=True)
class Option:
    """One way a text may go on: `continuation`, which is scored, after `context`."""

    context: str
    continuation: str


@dataclass(frozen=True)
class Choices:
    """One of several options is right: `answer`, counted from 0.

    Usually the contexts are the same and the continuations differ; where a candidate is put into the context and what
    follows is scored (Winograd, partial), it is the other way round. `key` is what only the task's metrics read beside:
    which question an answer belongs to, which entities are right as well.
    """

    options: tuple[Option, ...]
    answer: int
    key: Any = None


@dataclass(frozen=True)
class Target:
    """One continuation that the model should foretell exactly (LAMBADA's last word)."""

    context: str
    continuation: str


@dataclass(frozen=True)
class Passage:
    """A text to be foretold as a whole. Its words and bytes are counted in `original`, as it was published.

    `key` is what only the task's metrics read beside: whether a sentence is acceptable.
    """

    text: str
    original: str
    key: Any = None


@dataclass(frozen=True)
class Question:
    """A text to be gone on with freely, and the answers that are right; a demonstration shows the first.

    `key` is what only the task's metrics read beside: whether the answer named is the right one.
    """

    context: str
    answers: tuple[str, ...]
    key: Any = None


Item = Choices | Target | Passage | Question


@dataclass(frozen=True)
class Outcome:
    """What a model did on an item: scores of its options, target or passage in their order, or the text it wrote.

    `alone` are the same continuations after the task's `answer_context` (the unconditional scores).
    """

    scores: tuple[Scored, ...] = ()
    alone: tuple[Scored, ...] = ()
    text: str | None = None


Scoring = Literal["sum", "token", "byte", "character", "unconditional"]
"""How options are compared: by ln p, or that per token, UTF-8 byte or character of the continuation, or by
ln p(continuation | context) - ln p(continuation | answer context) (GPT-3 2020, section 2.4)."""


@dataclass(frozen=True)
class Metric:
    """A number for a whole task: `value` is computed of each item, and `total` of all values.

    `total` of a sequence of equal chances is the mean unless said; it is also what is computed of resampled items.
    """

    name: str
    value: Callable[[Item, Outcome], Any]
    total: Callable[[Sequence[Any]], float] | None = None
    higher_is_better: bool = True

    def over(self, values: Sequence[Any]) -> float:
        """The number for these items' values."""
        return float(np.mean(values)) if self.total is None else self.total(values)


@dataclass(frozen=True)
class Files:
    """Where a task's rows are: names in the data folder without endings, of the test and the training split.

    `origin` tells where the original files come from. `read` reads another layout than rows with columns: it is called
    with the path and yields rows. `columns` are those that `item` reads.
    """

    test: str
    train: str | None = None
    origin: str = ""
    columns: tuple[str, ...] = ()
    read: Callable[[str], Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A measurement: whose rows, how they become text, how answers are scored and judged.

    name             what is typed
    about            what it measures and the paper's section that defines it
    item             a row to an item
    metrics          the first is the task's own; the others are told beside it
    scoring          how Choices are compared for the task's own accuracy
    answer_context   what the unconditional scores are computed after
    demonstration    how a row is shown as an example; its item's context and right continuation unless said
    header           before all examples
    separator        between examples, and before the item
    keep             which rows count; all unless said
    decoding         how a Question is answered
    stride           of a Passage's windows, in tokens; the whole window unless said
    shots            examples shown in the paper that defines it, at most
    """

    name: str
    about: str
    files: Files
    item: Callable[[Row], Item]
    metrics: tuple[Metric, ...]
    scoring: Scoring = "token"
    answer_context: str | None = None
    demonstration: Callable[[Row], str] | None = None
    header: str = ""
    separator: str = "\n\n"
    keep: Callable[[Row], bool] | None = None
    decoding: Decoding = field(default_factory=Decoding)
    stride: int | None = None
    shots: int = 0


def shown(item: Item) -> str:
    """An item with its right answer, as a demonstration shows it."""
    if isinstance(item, Choices):
        right = item.options[item.answer]
        return right.context + right.continuation
    if isinstance(item, Target):
        return item.context + item.continuation
    if isinstance(item, Question):
        return item.context + item.answers[0]
    return item.text


def option_scores(item: Choices, outcome: Outcome, scoring: Scoring) -> list[float]:
    """What each option is compared by; see `Scoring`."""
    nats = [scored.nats for scored in outcome.scores]
    if scoring == "sum":
        return nats
    if scoring == "unconditional":
        return [given - alone.nats for given, alone in zip(nats, outcome.alone, strict=True)]
    texts = [option.continuation for option in item.options]
    sizes = {
        "token": [len(scored.token_nats) for scored in outcome.scores],
        "byte": [len(text.encode()) for text in texts],
        "character": [len(text) for text in texts],
    }[scoring]
    return [score / max(1, size) for score, size in zip(nats, sizes, strict=True)]


def chosen(item: Choices, outcome: Outcome, scoring: Scoring) -> int:
    """The option with the highest score; the first of equals."""
    return int(np.argmax(option_scores(item, outcome, scoring)))
