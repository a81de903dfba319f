"""Why documents are not in a corpus: counts by step and reason, and the documents themselves, from the ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.text.curation.curate import SUMMARY, read_summary
from ensue.text.curation.ledger import read_ledger
from ensue.text.curation.store import Store

PAGE = 10
MOST_FACTS = 6


@dataclass(frozen=True)
class Reason:
    """Documents that a step dropped for a reason, and the bytes of their texts; `step` is "" for what could not be
    read at all."""

    step: str
    reason: str
    documents: int
    bytes: int | None


@dataclass(frozen=True)
class StepCounts:
    """What a step of the curation was given and let through."""

    step: str
    documents_in: int
    documents_out: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True)
class Dropped:
    """A document that was dropped: what the step measured, of what it was a copy, how it began where that was kept."""

    id: str
    source: str
    bytes: int
    facts: str
    duplicate_of: str
    sample: str


@dataclass(frozen=True)
class Drops:
    """A page of dropped documents, and how many to pass over for the next one, None at the end."""

    documents: tuple[Dropped, ...]
    next: int | None


def is_corpus(folder: Path) -> bool:
    """Whether `ensue curate` finished a corpus there."""
    return (folder / SUMMARY).is_file()


def step_counts(folder: Path) -> list[StepCounts]:
    """The steps of a corpus in order, those that saw documents. Raises ValueError for an unfinished one."""
    return [
        StepCounts(step["step"], step["documents_in"], step["documents_out"], step["bytes_in"], step["bytes_out"])
        for one in read_summary(Store(folder)).passes
        for step in one
        if step["documents_in"]
    ]


def drop_reasons(folder: Path) -> list[Reason]:
    """Why documents were dropped, most first: of a corpus by its steps, and of any data what could not be read."""
    if is_corpus(folder):
        summary = read_summary(Store(folder))
        found = [
            Reason(step["step"], reason, documents, size)
            for one in summary.passes
            for step in one
            for reason, (documents, size) in step["dropped"].items()
        ]
        found.extend(Reason("", reason, count, None) for reason, count in summary.skipped.items())
    else:
        counts = Counter(row.get("reason", "") for row in _skipped(folder))
        found = [Reason("", reason, count, None) for reason, count in counts.items()]
    return sorted(found, key=lambda reason: (-reason.documents, reason.step, reason.reason))


def dropped_documents(folder: Path, reason: Reason, start: int = 0, size: int = PAGE) -> Drops:
    """The documents of a reason, `start` passed over. Reads the ledger, so it is for a thread."""
    found: list[Dropped] = []
    for number, document in enumerate(_of_reason(folder, reason)):
        if number < start:
            continue
        if len(found) == size:
            return Drops(tuple(found), start + size)
        found.append(document)
    return Drops(tuple(found), None)


def _of_reason(folder: Path, reason: Reason) -> Iterator[Dropped]:
    if not reason.step:
        for row in _skipped(folder):
            if row.get("reason") == reason.reason:
                yield Dropped("", str(row.get("source", "")), 0, str(row.get("detail", "")), "", "")
        return
    for _, row in read_ledger(Store(folder)):
        if (row["outcome"], row["step"], row["reason"]) == ("dropped", reason.step, reason.reason):
            told = json.loads(row["told"])
            yield Dropped(
                row["id"],
                row["source"],
                row["bytes"],
                _facts(told[-1][2]) if told else "",
                row["duplicate_of"],
                row["sample"],
            )


def _facts(facts: dict[str, Any]) -> str:
    shown = [
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in list(facts.items())[:MOST_FACTS]
        if name != "duplicate_of"
    ]
    return ", ".join(shown)


def _skipped(folder: Path) -> Iterator[dict[str, Any]]:
    for path in [folder / "skipped.jsonl", *sorted((folder / "skipped").glob("*.jsonl"))]:
        if not path.is_file():
            continue
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict):
                    yield row
