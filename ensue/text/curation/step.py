"""What a step of a recipe is: a frozen dataclass whose fields are its settings, and what it says of each document.

There are two kinds. A `DocumentStep` looks at one document at a time. A `CorpusStep` has to have seen them all before
it can judge one (duplicates, counts, a classifier's training set), so it does three things: scan each part, decide
once, judge each document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ensue.text.document import Document

Fact = str | int | float | bool
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """What one step said of one document.

    documents  what goes on: the document itself, a changed one with the same id, several pieces, or none (dropped)
    reason     why it was dropped or changed: a fixed phrase, so that equal reasons count together; "" if neither
    facts      the numbers it was decided by, such as {"words": 31}; for a duplicate, {"duplicate_of": id}
    """

    documents: tuple[Document, ...]
    reason: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)


def keep(document: Document, **facts: Fact) -> Verdict:
    """The document goes on as it is."""
    return Verdict((document,), "", facts)


def change(document: Document, text: str, reason: str, **facts: Fact) -> Verdict:
    """The document goes on with another text under its own id; as it is, without a reason, if the text is the same."""
    if text == document.text:
        return keep(document, **facts)
    return Verdict((Document(document.id, text, document.source, document.meta),), reason, facts)


def drop(reason: str, **facts: Fact) -> Verdict:
    """The document ends here."""
    return Verdict((), reason, facts)


def split(document: Document, texts: Sequence[str], reason: str, **facts: Fact) -> Verdict:
    """Pieces go on in its place, each a document of its own whose meta says `part_of`, the id of the whole."""
    meta = {**document.meta, "part_of": document.id}
    pieces = (Document.of(text, f"{document.source}#{number}", meta) for number, text in enumerate(texts, start=1))
    return Verdict(tuple(pieces), reason, facts)


Judge = Callable[[Document], Verdict]
NumberedJudge = Callable[[int, Document], Verdict]


@runtime_checkable
class DocumentStep(Protocol):
    """A step that needs one document at a time. Its class name, in words, is how reports call it."""

    def prepare(self) -> Judge:
        """Load what is needed, once in each process, and return the judge. It must be a pure function of the document
        and of the step's fields: no clock, no process, no order."""


@runtime_checkable
class CorpusStep(Protocol):
    """A step that has to have seen every document.

    Documents are numbered: the number of row r of part p of input unit u is u * 2**40 + p * 2**24 + r, so numbers
    ascend in the order of the corpus and do not depend on how the work was divided.
    """

    def scan(self, documents: Sequence[Document], first: int) -> Arrays:
        """What deciding needs of one part's documents, numbered from `first` on. Runs in parallel, once for each part;
        the arrays are stored as they are."""

    def decide(self, scans: Iterable[Arrays], out: Path, *, memory: int, scratch: Path) -> Mapping[str, Fact]:
        """From the scans of all parts, in order, write to the empty folder `out` what judging needs; return figures
        for the report.

        Runs once, in one process that may hold `memory` bytes; the folder `scratch` is for what does not fit and is
        removed afterwards. `scans` may be read once. The bytes in `out` depend on nothing but the scans.
        """

    def prepare(self, out: Path, first: int, last: int) -> NumberedJudge:
        """A judge for the documents numbered first <= n < last, from what `decide` wrote."""


Step = DocumentStep | CorpusStep


def number_of(unit: int, part: int, row: int) -> int:
    """The number of a document; see `CorpusStep`."""
    assert 0 <= part < 1 << 16
    assert 0 <= row < 1 << 24
    return (unit << 40) + (part << 24) + row
