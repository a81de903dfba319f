"""A table of labelled examples from a file: JSON lines, CSV, TSV or Parquet, each row by the names of its columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.text.rows import LINE_BYTES
from ensue.text.streams import FileProgress, Unreadable, line_chunks, read_chunks, text_chunks

KINDS = (".jsonl", ".csv", ".tsv", ".parquet")
PACKINGS = ("", ".gz", ".zst")
SHOWN = 300
"""Characters of a row that a message shows at most."""


@dataclass(frozen=True)
class Row:
    """One row of a file, counted from 1 (of a JSON lines file, its line), by column."""

    file: str
    number: int
    values: Mapping[str, Any]

    @property
    def source(self) -> str:
        return f"{self.file}:{self.number}"


@dataclass(frozen=True)
class Table:
    """All rows of a file, and the names of its columns in the order in which they first come."""

    file: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def shown(self) -> str:
        """Its columns and its first row, for a message."""
        first = json.dumps(self.rows[0].values, ensure_ascii=False, default=str)
        short = first if len(first) <= SHOWN else first[:SHOWN] + " ..."
        return f"its columns are {', '.join(self.columns)}, and its first row is\n  {short}"


def read_table(path: Path) -> Table:
    """Raises FileNotFoundError where there is no file, and ValueError for one that is not such a table, or is empty."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file of examples that ends in {_endings()}.")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the spelling.")
    kind, packing = _kind(path)
    try:
        found = _parquet_rows(path) if kind == ".parquet" else _text_rows(path, kind, packing)
        rows = tuple(Row(str(path), number, values) for number, values in found)
    except Unreadable as error:
        raise ValueError(f"{path} cannot be read as a table: {error}.") from error
    if not rows:
        raise ValueError(f"{path} has no rows; give a file of labelled examples.")
    return Table(str(path), tuple(dict.fromkeys(name for row in rows for name in row.values)), rows)


def _kind(path: Path) -> tuple[str, str]:
    for kind in KINDS:
        for packing in PACKINGS if kind != ".parquet" else ("",):
            if path.name.lower().endswith(kind + packing):
                return kind, packing
    raise ValueError(f"{path} is not a kind of table that is read; they end in {_endings()}.")


def _endings() -> str:
    return f"{', '.join(KINDS)}, and .gz or .zst after it but for Parquet"


def _text_rows(path: Path, kind: str, packing: str) -> Iterator[tuple[int, dict[str, Any]]]:
    chunks = read_chunks(path, packing, FileProgress(0, lambda _: None))
    return _json_rows(chunks) if kind == ".jsonl" else _delimited_rows(chunks, "," if kind == ".csv" else "\t")


def _json_rows(chunks: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(line_chunks(chunks, limit=LINE_BYTES), start=1):
        if line is None:
            raise Unreadable("the line is too long", f"line {number}, more than {LINE_BYTES >> 20} MiB")
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Unreadable("not JSON", f"line {number}: {error}") from error
        if not isinstance(value, dict):
            raise Unreadable("not a JSON object", f"line {number} is a {type(value).__name__}")
        yield number, value


def _delimited_rows(chunks: Iterable[bytes], delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(LINE_BYTES)
    reader = csv.reader(_lines(chunks), delimiter=delimiter)
    try:
        header = next(reader, [])
        for number, values in enumerate(reader, start=1):
            if not values:
                continue
            if len(values) != len(header):
                raise Unreadable("rows of unequal length", f"row {number} has {len(values)}, the header {len(header)}")
            yield number, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise Unreadable("not a table", str(error)) from error


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    held = ""
    for text in text_chunks(chunks):
        *whole, held = (held + text).split("\n")
        for line in whole:
            yield line + "\n"
    if held:
        yield held


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise Unreadable("the Parquet file is damaged", f"after row {number}: {error}") from error
