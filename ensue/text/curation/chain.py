"""A document's way through a run of steps: what goes on, and the story of each document that came in or was cut out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ensue.text.curation.step import Fact, Judge, Verdict
from ensue.text.document import Document

Outcome = Literal["kept", "dropped", "split"]


@dataclass(frozen=True)
class Told:
    """What one step said, as it is kept: the step's name, the reason ("" if none) and its facts."""

    step: str
    reason: str
    facts: dict[str, Fact]


@dataclass(frozen=True)
class Story:
    """One document's way through a run of steps.

    bytes      of its text as it came in, in UTF-8; bytes_out, of what it sent on
    outcome    "kept" if it went on, "dropped", or "split" into pieces, which have stories of their own
    told       what each step said, in order; the last one is the step that dropped or split it
    """

    document: Document = field(repr=False)
    bytes: int
    outcome: Outcome
    told: tuple[Told, ...]
    bytes_out: int


@dataclass
class Tally:
    """What one step did in one part: documents and UTF-8 bytes in and out, (documents, bytes) by reason, seconds."""

    step: str
    documents_in: int = 0
    bytes_in: int = 0
    documents_out: int = 0
    bytes_out: int = 0
    dropped: dict[str, list[int]] = field(default_factory=dict)
    changed: dict[str, list[int]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Named:
    """A judge and the name of its step."""

    name: str
    judge: Judge


def follow(documents: Iterable[Document], steps: Sequence[Named]) -> tuple[list[Document], list[Story], list[Tally]]:
    """Send documents through steps: those that come out, a story each, and a tally for each step."""
    tallies = [Tally(step.name) for step in steps]
    kept: list[Document] = []
    stories: list[Story] = []

    def send(document: Document, first: int) -> None:
        came, size = document, _bytes(document)
        now, told = size, list[Told]()
        for index in range(first, len(steps)):
            begun = time.perf_counter()
            verdict = steps[index].judge(document)
            tallies[index].seconds += time.perf_counter() - begun
            after = [now if out is document else _bytes(out) for out in verdict.documents]
            _count(tallies[index], now, after, verdict)
            told.append(Told(steps[index].name, verdict.reason, dict(verdict.facts)))
            if len(verdict.documents) != 1 or verdict.documents[0].id != document.id:
                outcome: Outcome = "split" if verdict.documents else "dropped"
                stories.append(Story(came, size, outcome, tuple(told), sum(after)))
                for piece in verdict.documents:
                    send(piece, index + 1)
                return
            document, now = verdict.documents[0], after[0]
        kept.append(document)
        stories.append(Story(came, size, "kept", tuple(told), now))

    for document in documents:
        send(document, 0)
    return kept, stories, tallies


def _count(tally: Tally, before: int, after: Sequence[int], verdict: Verdict) -> None:
    tally.documents_in += 1
    tally.bytes_in += before
    tally.documents_out += len(after)
    tally.bytes_out += sum(after)
    if verdict.reason:
        counts = (tally.changed if after else tally.dropped).setdefault(verdict.reason, [0, 0])
        counts[0] += 1
        counts[1] += before - sum(after)


def _bytes(document: Document) -> int:
    text = document.text
    return len(text) if text.isascii() else len(text.encode())
