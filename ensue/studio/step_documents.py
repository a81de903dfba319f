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
    if folder.read_config()["config"].get("kind") == "FineTuneConfig":
        return _rows(folder, step)
    return _documents(folder, step)


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
        shown.append(Read(document["source"], document["id"], document["tokens"], text[:EXCERPT_CHARACTERS]))
    total = sum(document["tokens"] for document in told["documents"])
    return StepReading(step, told["trained"], len(told["documents"]), total, tuple(shown))


def _rows(run: RunFolder, step: int) -> StepReading:
    from ensue.core.config import from_dict
    from ensue.generate.load import load
    from ensue.recipes.finetuning.config import FineTuneConfig
    from ensue.recipes.finetuning.start import work_for
    from ensue.recipes.finetuning.table import read_table

    last = max((row["step"] for row in run.rows() if "loss" in row), default=0)
    if not 1 <= step <= last:
        raise ValueError(f"{run.path} has {last:,} steps so far; choose one of them.")
    checkpoints = run.checkpoints()
    if not checkpoints:
        raise ValueError(f"{run.path} has no checkpoint, so its examples cannot be read as it read them.")
    config = from_dict(FineTuneConfig, run.read_config()["config"])
    stream = work_for(config, load(checkpoints[-1], device="cpu"), resumed=True).stream
    sources = [str(source) for source in stream.documents(step - 1)]
    texts = {row.source: _row_text(row.values) for row in read_table(Path(config.data)).rows}
    shown = tuple(Read(source, "", 0, texts.get(source, "")) for source in sources[:MOST_DOCUMENTS])
    return StepReading(step, True, len(sources), stream.tokens(step - 1), shown)


def _row_text(values: Mapping[str, Any]) -> str:
    lines = (
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)}"
        for name, value in values.items()
    )
    return "\n".join(lines)[:EXCERPT_CHARACTERS]
