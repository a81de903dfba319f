"""What a step of a run was trained on: documents with the beginning of their text, or rows of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.core.run import RunFolder

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


def step_reading(run: Path, step: int) -> StepReading:
    """What the step (counted from 1) of the run read. Takes a moment, so it is for a thread.

    Raises ValueError or FileNotFoundError for a step that there is not, and data that is gone or changed.
    """
    folder = RunFolder.open(run)
    from ensue.recipes.finetuning.why import is_tuning

    return _rows(folder, step) if is_tuning(folder) else _documents(folder, step)


def _documents(run: RunFolder, step: int) -> StepReading:
    from ensue.recipes.data import Data
    from ensue.recipes.resuming import config_at
    from ensue.recipes.why import show_documents

    told = json.loads(show_documents(run, step, as_json=True))
    data = Data(run.path.resolve() / config_at(run, step).data)
    shards = {part.name: part.train for part in data.parts}
    shown = []
    for document in told["documents"][:MOST_DOCUMENTS]:
        tokens = shards[document.get("part", "")].tokens
        stop = min(document["stop"] - 1, document["start"] + EXCERPT_TOKENS)  # without its end token
        text = data.tokenizer.decode(tokens[document["start"] : stop].tolist())
        shown.append(
            Read(document["source"], document["id"], document["tokens"], text.rstrip("\ufffd")[:EXCERPT_CHARACTERS])
        )
    total = sum(document["tokens"] for document in told["documents"])
    return StepReading(step, told["trained"], len(told["documents"]), total, tuple(shown))


def _rows(run: RunFolder, step: int) -> StepReading:
    from ensue.recipes.finetuning.why import show_rows

    told = json.loads(show_rows(run, step, as_json=True))
    texts = _texts_of_rows(Path(run.read_config()["config"]["data"]))
    shown = tuple(Read(source, "", 0, texts.get(source, "")) for source in told["rows"][:MOST_DOCUMENTS])
    return StepReading(step, told["trained"], len(told["rows"]), 0, shown)


def _texts_of_rows(table: Path) -> dict[str, str]:
    """Each row of a table by its source; none where it is a table of another kind, or gone."""
    from ensue.recipes.finetuning.table import read_table

    try:
        return {row.source: _row_text(row.values) for row in read_table(table).rows}
    except (ValueError, OSError):
        return {}


def _row_text(values: Mapping[str, Any]) -> str:
    lines = (
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)}"
        for name, value in values.items()
    )
    return "\n".join(lines)[:EXCERPT_CHARACTERS]
