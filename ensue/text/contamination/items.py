"""Evaluation items from files as they are found: every string of a row, lists and records inside it included."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.text.rows import LINE_BYTES
from ensue.text.streams import FileProgress, Unreadable, line_chunks, read_chunks, text_chunks

KINDS = (".jsonl", ".csv", ".tsv", ".parquet", ".txt", ".md")
PACKINGS = ("", ".gz", ".zst")


@dataclass(frozen=True)
class Item:
    """One evaluation item: its file as it was given, its row (from 1; the first line of a paragraph of plain text), and
    its strings."""

    file: str
    row: int
    texts: tuple[str, ...]


def evaluation_files(paths: Sequence[str | Path]) -> list[str]:
    """The files that `paths`, files or folders, name, in order.

    Raises FileNotFoundError or ValueError for a path that does not exist or holds none.
    """
    files: list[str] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist, and is to be kept out of the corpus; check the spelling.")
        found = sorted(each for each in path.rglob("*") if _kind(each)) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"{path} holds no evaluation files; they end in {_endings()}.")
        files.extend(str(each) for each in found)
    return list(dict.fromkeys(files))


def read_items(file: str) -> Iterator[Item]:
    """The items of one file in order.

    Raises ValueError for a file or a row that cannot be read: what is not read would not be kept out.
    """
    path, found = Path(file), _kind(Path(file))
    if found is None:
        raise ValueError(f"{file} is not a kind of evaluation file that is read; they end in {_endings()}.")
    kind, packing = found
    try:
        if kind == ".parquet":
            yield from _parquet_items(path)
            return
        chunks = read_chunks(path, packing, FileProgress(0, lambda _: None))
        if kind == ".jsonl":
            rows = _json_rows(chunks)
        elif kind in (".csv", ".tsv"):
            rows = _table_rows(chunks, "," if kind == ".csv" else "\t")
        else:
            rows = _paragraphs(chunks)
        for row, value in rows:
            yield Item(file, row, tuple(_strings(value)))
    except Unreadable as error:
        raise ValueError(f"{file} cannot be read as evaluation items: {error}.") from error


def _kind(path: Path) -> tuple[str, str] | None:
    """The kind of a file and its packing; None if it is not one that is read."""
    for kind in KINDS:
        for packing in PACKINGS if kind != ".parquet" else ("",):
            if path.name.lower().endswith(kind + packing):
                return kind, packing
    return None


def _endings() -> str:
    return f"{', '.join(KINDS)}, and .gz or .zst after it but for Parquet"


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, Iterable) and not isinstance(value, bytes):
        for inner in value:
            yield from _strings(inner)


def _json_rows(chunks: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
    for row, line in enumerate(line_chunks(chunks, limit=LINE_BYTES), start=1):
        if line is None:
            raise Unreadable("the line is too long", f"line {row}, more than {LINE_BYTES >> 20} MiB")
        if not line.strip():
            continue
        try:
            yield row, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Unreadable("not JSON", f"line {row}: {error}") from error


def _table_rows(chunks: Iterable[bytes], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows behind the header."""
    csv.field_size_limit(LINE_BYTES)
    try:
        for row, values in enumerate(csv.reader(_lines(chunks), delimiter=delimiter)):
            if row:
                yield row, values
    except csv.Error as error:
        raise Unreadable("not a table", str(error)) from error


def _paragraphs(chunks: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """What stands between blank lines, by the number of its first line."""
    first, held = 0, list[str]()
    for number, line in enumerate(_lines(chunks), start=1):
        if line.strip():
            first = first if held else number
            held.append(line)
        elif held:
            yield first, "".join(held)
            held = []
    if held:
        yield first, "".join(held)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    held = ""
    for text in text_chunks(chunks):
        *whole, held = (held + text).split("\n")
        for line in whole:
            yield line + "\n"
    if held:
        yield held


def _parquet_items(path: Path) -> Iterator[Item]:
    import pyarrow
    from pyarrow import parquet

    row = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for record in batch.to_pylist():
                    row += 1
                    yield Item(str(path), row, tuple(_strings(record)))
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise Unreadable("the Parquet file is damaged", f"after row {row}: {error}") from error
