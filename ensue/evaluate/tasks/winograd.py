"""Whom a pronoun means: the Winograd Schema Challenge (273 items) and WinoGrande.

Trinh and Le (2018) put each candidate in the pronoun's place. Full scoring compares ln P of the whole sentences,
partial scoring ln P of what follows the candidate. GPT-2 (2019, section 3.4) reports both; GPT-3 (2020, figures G.13
and G.14) has the partial one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ensue.evaluate.metrics import accuracies
from ensue.evaluate.task import Choices, Files, Item, Option, Row, Task
from ensue.evaluate.tasks.published import capitalised, one_of, place_of

BLANK = "_"
LEADING = frozenset(("a", "an", "the", "my", "your", "his", "her", "its", "our", "their"))
"""First words of candidates that are written small inside a sentence."""

POSSESSED = """arms back bassinet bathroom bed bishop boyfriend bunk chest concentration education empty legs place
    shoulders silence toy turn will"""
"""Words of the 273 items that follow a pronoun standing for somebody's: the set as it is shared has only a blank."""

SPACE_BEFORE_MARK = re.compile(r" +([.,;:!?])")


@dataclass(frozen=True)
class Substituted:
    """A text before a pronoun, the candidates as they read in its place, and what follows it.

    `before` ends in the space at a candidate's left, and `rest` begins with that at its right.
    """

    before: str
    candidates: tuple[str, ...]
    rest: str


def full(substituted: Substituted, answer: int) -> Choices:
    """The whole sentence with each candidate."""
    before, rest = substituted.before, substituted.rest
    return Choices(tuple(Option("", before + candidate + rest) for candidate in substituted.candidates), answer)


def partial(substituted: Substituted, answer: int) -> Choices:
    """What follows the candidates, after the text with each of them."""
    before, rest = substituted.before, substituted.rest
    return Choices(tuple(Option(before + candidate, rest) for candidate in substituted.candidates), answer)


def substitute(text: str, candidates: Sequence[str], *, of_somebody: bool = False) -> Substituted:
    """Each candidate for the blank in a text.

    An article or the like at a candidate's beginning is small inside a sentence, the first letter is large at the
    beginning of one, and where the pronoun is somebody's, "his" or "her", the candidate gets 's. Raises ValueError
    where there is no blank.
    """
    before, rest = _around_blank(text.strip())
    placed = tuple(_in_place(candidate.strip(), before, of_somebody) for candidate in candidates)
    return Substituted(before, placed, rest)


def _around_blank(text: str) -> tuple[str, str]:
    before, blank, rest = text.partition(BLANK)
    if not blank:
        raise ValueError(f"there is no blank {BLANK} where the candidates go: {text}")
    return before, rest


def _in_place(candidate: str, before: str, of_somebody: bool) -> str:
    first, start = candidate.split(maxsplit=1)[0], before.rstrip()
    if not start or start.endswith((".", "!", "?")):
        candidate = capitalised(candidate)
    elif first.lower() in LEADING:
        candidate = first.lower() + candidate[len(first) :]
    return candidate + "'s" if of_somebody else candidate


def winograd(row: Row) -> tuple[Substituted, int]:
    """A row of the 273, in the layout with a blank or that with the pronoun's place; and the right candidate.

    Spaces that stand double or before a full stop, as the set is shared, are undone.
    """
    text, candidates = row["text"], one_of(row, "choices", "options")
    if "pronoun_loc" in row:
        place = int(row["pronoun_loc"])
        text = text[:place] + BLANK + text[place + len(row["pronoun"]) :]
    text = SPACE_BEFORE_MARK.sub(r"\1", re.sub(r" {2,}", " ", text))
    following = text.partition(BLANK)[2].split(maxsplit=1)
    of_somebody = bool(following) and following[0].strip(".,;:!?") in POSSESSED.split()
    return substitute(text, candidates, of_somebody=of_somebody), place_of(row, "label", candidates)


def _winograd_full(row: Row) -> Item:
    return full(*winograd(row))


def _winograd_partial(row: Row) -> Item:
    return partial(*winograd(row))


def _winogrande(row: Row) -> Item:
    """Its candidates are written as they read in the blank."""
    if "option1" in row:  # the original counts from 1
        candidates = (row["option1"], row["option2"])
        answer = place_of(row, "answer", candidates, first=1)
    else:
        candidates = tuple(row["choices"])
        answer = place_of(row, "label", candidates)
    before, rest = _around_blank(one_of(row, "text", "sentence").strip())
    return partial(Substituted(before, candidates, re.sub(r"^ {2,}", " ", rest)), answer)


WSC_FILES = Files(
    test="wsc273",
    train="wsc273",
    origin="https://cs.nyu.edu/~davise/papers/WinogradSchemas/WS.html (the first 273 items)",
)

WINOGRAD_FULL = Task(
    name="winograd_full",
    about="whom a pronoun means: the whole sentence with either candidate (Trinh and Le 2018; GPT-2 2019, section 3.4)",
    files=WSC_FILES,
    item=_winograd_full,
    metrics=accuracies("sum"),
    scoring="sum",
)

WINOGRAD = Task(
    name="winograd",
    about="whom a pronoun means: what follows either candidate (Trinh and Le 2018; GPT-3 2020, figure G.13)",
    files=WSC_FILES,
    item=_winograd_partial,
    metrics=accuracies("sum"),
    scoring="sum",
    shots=7,
)

WINOGRANDE = Task(
    name="winogrande",
    about="Winograd's question on harder sentences (GPT-3 2020, figure G.14: what follows either candidate)",
    files=Files(
        test="winogrande_dev",
        train="winogrande_dev",
        origin="https://winogrande.allenai.org (winogrande_1.1, dev.jsonl)",
    ),
    item=_winogrande,
    metrics=accuracies("sum"),
    scoring="sum",
    shots=50,
)

TASKS = (WINOGRAD_FULL, WINOGRAD, WINOGRANDE)
