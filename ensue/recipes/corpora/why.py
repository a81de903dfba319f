"""What `ensue corpus why` does: one document's whole story, from where it was read to the steps that trained on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ensue.core.run import RunFolder
from ensue.recipes.data import Data, is_data
from ensue.recipes.seen import last_step, stream_at
from ensue.text.curation.ledger import read_ledger
from ensue.text.curation.store import Store

LEDGER_COLUMNS = ("id", "source", "collection", "outcome", "step", "reason", "duplicate_of", "part_of", "bytes", "told")
FEWEST_DIGITS = 6
MOST_FOUND = 10


@dataclass
class Told:
    """A document's story.

    passes    what each step of each pass said, in order: (step, reason, facts)
    outcome   "in the corpus", or how and by which step its way ended
    places    where its tokens are in each shard: (shard, first token, tokens)
    steps     the steps of a run that read any of them, counted from 1
    """

    id: str
    source: str
    collection: str
    bytes: int
    outcome: str = ""
    duplicate_of: str = ""
    part_of: str = ""
    passes: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    places: list[tuple[str, int, int]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)


def tell_story(corpus: str, name: str, *, run: Path | None, as_json: bool) -> str:
    """The story of the document with the id `name` (its first digits are enough) or from the source `name`.

    Raises ValueError for one that the ledger does not know, or a name that stands for several, which are listed.
    """
    store = Store(corpus)
    if not store.exists("ledger"):
        raise ValueError(f"{corpus} has no ledger, so `ensue curate` did not make it.")
    stories = _find(store, name)
    if not stories:
        raise ValueError(
            f"{corpus} knows no document {name!r}; give an id, its first {FEWEST_DIGITS} digits or more, or the exact "
            "source, as in report.html."
        )
    if len(stories) > 1:
        listed = [f"  {story.id}  {story.source}" for story in list(stories.values())[:MOST_FOUND]]
        raise ValueError(
            f"{len(stories):,} documents are meant by {name!r}; give one of their ids:\n" + "\n".join(listed)
        )
    (story,) = stories.values()
    for data in _data_folders(store):
        _place(story, data)
    if run is not None:
        story.steps = _steps(story, RunFolder.open(run))
    return json.dumps(asdict(story), ensure_ascii=False) if as_json else _written(story, run)


def _find(store: Store, name: str) -> dict[str, Told]:
    stories: dict[str, Told] = {}
    prefix = len(name) >= FEWEST_DIGITS and all(digit in "0123456789abcdef" for digit in name)
    for _, row in read_ledger(store, LEDGER_COLUMNS):
        if row["source"] == name or (prefix and row["id"].startswith(name)):
            new = Told(row["id"], row["source"], row["collection"], row["bytes"], part_of=row["part_of"])
            story = stories.setdefault(row["id"], new)
            story.passes.extend((step, reason, facts) for step, reason, facts in json.loads(row["told"]))
            story.outcome = _outcome(row)
            story.duplicate_of = row["duplicate_of"]
    return stories


def _outcome(row: Mapping[str, Any]) -> str:
    if row["outcome"] == "kept":
        return "in the corpus"
    return f"{row['outcome']} by {row['step']}: {row['reason']}"


def _data_folders(store: Store) -> Iterator[Data]:
    folder = store.folder
    if folder is None:
        return
    for path in (folder, *sorted((folder / "data").glob("*"))):
        if is_data(path) and (path / "train").is_dir():
            yield Data(path)


def _place(story: Told, data: Data) -> None:
    for name, shard in (("train", data.train), ("held_out", data.held_out)):
        index = shard.place_of(story.id)
        if index is not None:
            (span,) = shard.spans([index])
            story.places.append((f"{data.path.name}/{name}", span.start, span.stop - span.start))


def _steps(story: Told, run: RunFolder) -> list[int]:
    """The steps so far that read a token of the document."""
    last = last_step(run)
    if not last:
        return []
    _, _, stream = stream_at(run, last)
    return [step + 1 for step in range(last) if any(span.id == story.id for span in stream.documents(step))]


def _written(story: Told, run: Path | None) -> str:
    lines = [f"{story.id}  {story.source}", f"  collection {story.collection}, {story.bytes:,} bytes as it came"]
    if story.part_of:
        lines.append(f"  a piece of {story.part_of}")
    for step, reason, facts in story.passes:
        shown = ", ".join(f"{name} {_short(value)}" for name, value in facts.items())
        lines.append(f"  {step:<22} {reason or 'passed'}" + (f"  ({shown})" if shown else ""))
    lines.append(f"  -> {story.outcome}" + (f", of {story.duplicate_of}" if story.duplicate_of else ""))
    lines.extend(f"  {shard}: tokens {first:,} to {first + count:,}" for shard, first, count in story.places)
    if run is not None:
        count = len(story.steps)
        shown = ", ".join(f"{step:,}" for step in story.steps[:20]) + (", ..." if count > 20 else "")
        lines.append(f"  {run}: read in {count:,} steps" + (f": {shown}" if count else ""))
    return "\n".join(lines)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
