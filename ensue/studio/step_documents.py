"""What a step of a run was trained on: documents with the beginning of their text, or rows of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.core.run import RunFolder
from ensue.studio.run_records import RunRecords

EXCERPT_TOKENS = 160
MOST_DOCUMENTS = 60
EXCERPT_CHARACTERS = 600


@dataclass(frozen=True)
class Read:
    """A document or a row that a step read: how many of its tokens (0 where nobody counts), and how it begins."""

    source: str
    id: str
    tokens: int
    text: str


@dataclass(frozen=True)
class StepReading:
    """All that a step read, most first, of which `shown` are at hand; `trained` is false for a step to come."""

    step: int
    trained: bool
    documents: int
    tokens: int
    shown: tuple[Read, ...]


def step_reading(run: Path, step: int, *, records: RunRecords) -> StepReading:
    """What the step (counted from 1) of the run read. Takes a moment, so it is for a thread.

    Raises ValueError or FileNotFoundError for a step that there is not, and data that is gone or changed.
    """
    folder = RunFolder.open(run)
    told = records.why(folder, step)
    return _rows(folder, step, told, records) if "rows" in told else _documents(folder, step, told, records)


def _documents(run: RunFolder, step: int, told: Mapping[str, Any], records: RunRecords) -> StepReading:
    text_of = records.texts(run, step)
    shown = []
    for document in told["documents"][:MOST_DOCUMENTS]:
        stop = min(document["stop"] - 1, document["start"] + EXCERPT_TOKENS)  # without its end token
        text = text_of(document.get("part", ""), document["start"], stop)
        shown.append(
            Read(document["source"], document["id"], document["tokens"], text.rstrip("\ufffd")[:EXCERPT_CHARACTERS])
        )
    total = sum(document["tokens"] for document in told["documents"])
    return StepReading(step, told["trained"], len(told["documents"]), total, tuple(shown))


def _rows(run: RunFolder, step: int, told: Mapping[str, Any], records: RunRecords) -> StepReading:
    try:
        rows = records.rows(Path(run.read_config()["config"]["data"]))
    except (ValueError, OSError):  # a table of another kind, or gone
        rows = {}
    shown = tuple(Read(source, "", 0, _row_text(rows.get(source, {}))) for source in told["rows"][:MOST_DOCUMENTS])
    return StepReading(step, told["trained"], len(told["rows"]), 0, shown)


def _row_text(values: Mapping[str, Any]) -> str:
    lines = (
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)}"
        for name, value in values.items()
    )
    return "\n".join(lines)[:EXCERPT_CHARACTERS]
