"""What GPT could do before it was fine-tuned: the zero-shot heuristics of its paper (GPT 2018, section 5, figure 2).

How a text and what is appended to it are joined is unpublished: here by a newline or, within a sentence, a space.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ensue.evaluate.metrics import accuracies, area_under_curve, best_threshold, check_labels, matthews_of
from ensue.evaluate.task import Files, Item, Metric, Outcome, Passage, Row, Task
from ensue.evaluate.tasks.classification import SST2
from ensue.evaluate.tasks.options import continuations
from ensue.evaluate.tasks.published import label_of, one_of, place_of, rows_of
from ensue.evaluate.tasks.reading import LETTERS, RACE_HIGH, RACE_MIDDLE
from ensue.evaluate.tasks.winograd import BLANK, WSC_FILES, partial, substitute, winograd

Judged = tuple[float, int, int]
"""Mean token log-probability in nats, whether the sentence is acceptable, and which half it is in."""


def cola_rows(path: str) -> Iterator[Row]:
    """Sentences and labels of the published .tsv, whose lines are source, label, mark and sentence; or of rows."""
    if not path.endswith(".tsv"):
        yield from rows_of(path)
        return
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        _, label, _, text = line.split("\t")
        yield {"text": text, "label": label}


def _cola(row: Row) -> Item:
    text = one_of(row, "text", "sentence")
    return Passage(text, text, label_of(row, "label", names=("unacceptable", "acceptable")))


def _judged(item: Item, outcome: Outcome) -> Judged:
    assert isinstance(item, Passage)
    nats = outcome.scores[0].token_nats
    return sum(nats) / max(1, len(nats)), item.key, zlib.crc32(item.text.encode()) % 2


def _matthews_across(judged: Sequence[Judged]) -> float:
    """Each half of the sentences by the threshold that is best on the other half, both together."""
    check_labels([label for _, label, _ in judged])
    pairs: list[tuple[int, int]] = []
    for half in (0, 1):
        threshold = _threshold([each for each in judged if each[2] != half])
        pairs += [(int(score >= threshold), label) for score, label, own in judged if own == half]
    return matthews_of(pairs)


def _matthews_best(judged: Sequence[Judged]) -> float:
    check_labels([label for _, label, _ in judged])
    threshold = _threshold(judged)
    return matthews_of([(int(score >= threshold), label) for score, label, _ in judged])


def _threshold(judged: Sequence[Judged]) -> float:
    if not judged:
        return float("-inf")
    return best_threshold([score for score, _, _ in judged], [label for _, label, _ in judged])


def _area(judged: Sequence[Judged]) -> float:
    check_labels([label for _, label, _ in judged])
    return area_under_curve([score for score, _, _ in judged], [label for _, label, _ in judged])


GPT_COLA = Task(
    name="gpt_cola",
    about="whether a sentence is acceptable, by a threshold on its mean token log-probability (GPT 2018, section 5). "
    "The paper does not say how it is chosen: `matthews` judges each half by the other half's best threshold, "
    "`matthews_best` by the best in hindsight, and `area` needs none",
    files=Files(
        test="cola_dev",
        columns=("label",),
        origin="https://nyu-mll.github.io/CoLA (out_of_domain_dev.tsv)",
        read=cola_rows,
    ),
    item=_cola,
    metrics=(
        Metric("matthews", _judged, _matthews_across),
        Metric("area", _judged, _area),
        Metric("matthews_best", _judged, _matthews_best),
    ),
)


def _very(row: Row) -> Item:
    text = one_of(row, "text", "sentence").strip()
    words = ("negative", "positive")
    return continuations(f"{text} very", words, label_of(row, "label", names=words))


GPT_SST2 = Task(
    name="gpt_sst2",
    about="for or against: `very` is appended, and only `positive` and `negative` may follow (GPT 2018, section 5)",
    files=SST2.files,
    item=_very,
    metrics=accuracies("sum"),
    scoring="sum",
)


def _race(row: Row) -> Item:
    context = f"{row['article'].strip()}\n{row['question'].strip()}"
    options = [option.strip() for option in row["options"]]
    return continuations(context, options, label_of(row, "answer", names=LETTERS))


def _race_task(name: str, files: Files) -> Task:
    return Task(
        name=name,
        about="the answer with the highest mean token log-probability after text and question (GPT 2018, section 5)",
        files=files,
        item=_race,
        metrics=accuracies("token"),
        scoring="token",
    )


GPT_RACE_HIGH = _race_task("gpt_race_high", RACE_HIGH.files)
GPT_RACE_MIDDLE = _race_task("gpt_race_middle", RACE_MIDDLE.files)


def _winograd(row: Row) -> Item:
    return partial(*winograd(row))


def dprd_rows(path: str) -> Iterator[Row]:
    """Rahman and Ng's pronouns: sentence, pronoun, two candidates and the right one, a line each, then an empty line.

    The file does not say which of several such pronouns is meant: the first after both candidates is taken, or else the
    first. Raises ValueError naming the line of an item that is not so.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    for first in range(0, len(lines) - 3, 5):
        text, pronoun, both, right = (line.strip() for line in lines[first : first + 4])
        candidates = [candidate.strip() for candidate in both.split(",")]
        folded = [candidate.casefold() for candidate in candidates]
        place = _pronoun(text, pronoun, folded)
        if place is None or len(candidates) != 2 or right.casefold() not in folded:
            raise ValueError(
                f"{path}, line {first + 1}: no sentence with its pronoun, two candidates and the right one"
            )
        yield {
            "text": text[:place] + BLANK + text[place + len(pronoun) :],
            "pronoun": pronoun,
            "choices": candidates,
            "label": folded.index(right.casefold()),
        }


def _pronoun(text: str, pronoun: str, candidates: Sequence[str]) -> int | None:
    places = [found.start() for found in re.finditer(rf"\b{re.escape(pronoun)}\b", text)]
    named = max((text.casefold().find(candidate) for candidate in candidates), default=-1)
    return next((place for place in places if place > named), places[0] if places else None)


def _dprd(row: Row) -> Item:
    of_somebody = row["pronoun"].lower() in ("his", "their", "its")  # "her" is most often "she" in another place
    substituted = substitute(row["text"], row["choices"], of_somebody=of_somebody)
    return partial(substituted, place_of(row, "label", row["choices"]))


GPT_DPRD = Task(
    name="gpt_dprd",
    about="whom a pronoun means: the candidate after which the rest has the higher mean token log-probability "
    "(GPT 2018, section 5, on the set of Rahman and Ng 2012)",
    files=Files(
        test="dprd_test",
        train="dprd_train",
        columns=("text", "choices", "label"),
        origin="https://www.hlt.utdallas.edu/~vince/data/emnlp12 (test.c.txt and train.c.txt)",
        read=dprd_rows,
    ),
    item=_dprd,
    metrics=accuracies("token"),
    scoring="token",
)

GPT_WINOGRAD = Task(
    name="gpt_winograd",
    about="the same rule on the 273 items of the Winograd Schema Challenge, which the paper does not measure",
    files=WSC_FILES,
    item=_winograd,
    metrics=accuracies("token"),
    scoring="token",
)

TASKS = (GPT_COLA, GPT_SST2, GPT_RACE_HIGH, GPT_RACE_MIDDLE, GPT_DPRD, GPT_WINOGRAD)
