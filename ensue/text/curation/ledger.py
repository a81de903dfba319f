"""The ledger: what every step said of every document, in one small Parquet file for each part of each pass."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ensue.core.columns import make_table
from ensue.core.seeds import seed_for
from ensue.text.curation.chain import Story
from ensue.text.curation.store import Store

if TYPE_CHECKING:
    import pyarrow

FOLDER = "ledger"
SAMPLES = 3
"""Documents of each outcome and reason in a part whose first characters are kept for people to look at."""

SAMPLE_CHARACTERS = 600

COLUMNS = (
    "id",
    "source",
    "collection",
    "outcome",
    "step",
    "reason",
    "duplicate_of",
    "part_of",
    "bytes",
    "bytes_out",
    "told",
    "sample",
)


def pack_stories(stories: Sequence[Story]) -> bytes:
    """The stories as a Parquet file with COLUMNS; `told` is JSON, a list of [step, reason, facts]."""
    from pyarrow import parquet

    shown = _sampled(stories)
    rows = [_row(story, index in shown) for index, story in enumerate(stories)]
    columns = list(map(list, zip(*rows, strict=True))) if rows else [[] for _ in COLUMNS]
    buffer = io.BytesIO()
    parquet.write_table(make_table(columns, _schema()), buffer, compression="zstd")
    return buffer.getvalue()


def read_ledger(store: Store, columns: Sequence[str] = COLUMNS) -> Iterator[tuple[str, dict[str, Any]]]:
    """(pass, row) of every story in the order of passes and parts; a row has the columns asked for."""
    from pyarrow import parquet

    for pass_name in ledger_passes(store):
        for name in store.names(f"{FOLDER}/{pass_name}", ".parquet"):
            file = io.BytesIO(store.read(f"{FOLDER}/{pass_name}/{name}"))
            for row in parquet.ParquetFile(file).read(list(columns), use_threads=False).to_pylist():
                yield pass_name, row


def ledger_passes(store: Store) -> list[str]:
    """The names of the passes in order, such as "00"."""
    return [name for name in store.names(FOLDER) if name.isdecimal()]


def _sampled(stories: Sequence[Story]) -> set[int]:
    """Indices of a few stories of each outcome and reason, chosen by their documents' ids."""
    by_kind: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for index, story in enumerate(stories):
        kind = (story.outcome, *_end(story))
        by_kind.setdefault(kind, []).append((seed_for(0, "sample", story.document.id), index))
    return {index for found in by_kind.values() for _, index in sorted(found)[:SAMPLES]}


def _end(story: Story) -> tuple[str, str]:
    """The step that ended a document's way, and why; ("", "") if it went on."""
    last = story.told[-1] if story.told and story.outcome != "kept" else None
    return (last.step, last.reason) if last else ("", "")


def _row(story: Story, shown: bool) -> tuple[Any, ...]:
    document = story.document
    step, reason = _end(story)
    duplicate_of = str(story.told[-1].facts.get("duplicate_of", "")) if story.outcome == "dropped" else ""
    told = json.dumps([[said.step, said.reason, said.facts] for said in story.told], ensure_ascii=False)
    sample = document.text[:SAMPLE_CHARACTERS] if shown else ""
    collection = document.meta.get("collection", "")
    return (
        document.id,
        document.source,
        collection,
        story.outcome,
        step,
        reason,
        duplicate_of,
        document.meta.get("part_of", ""),
        story.bytes,
        story.bytes_out,
        told,
        sample,
    )


def _schema() -> pyarrow.Schema:
    import pyarrow

    kinds = {"bytes": pyarrow.int64(), "bytes_out": pyarrow.int64()}
    return pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in COLUMNS])
