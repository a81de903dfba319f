"""The documents of a data folder or a corpus: page by page, and those in which something is written."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import pyarrow

PAGE = 10
EXCERPT = 500
MOST_CHARACTERS = 6000
"""Characters of a document that a page is sent."""

COUNTED = 500_000
"""Documents whose sources and sizes are counted at most, the first ones."""

MOST_SOURCES = 30
EDGES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
"""Bytes at which the sizes are parted."""


@dataclass(frozen=True)
class Excerpt:
    """A document as a page shows it; `place` counts from 0, and `rest` is what did not fit of `text`."""

    place: int
    id: str
    source: str
    bytes: int
    facts: Mapping[str, str]
    text: str
    rest: int


@dataclass(frozen=True)
class Found:
    """Documents of a page or a search, and the place to go on from, None at the end."""

    documents: tuple[Excerpt, ...]
    next: int | None


@dataclass(frozen=True)
class Sizes:
    """Of the documents that were counted: how many, their bytes, the largest sources as (name, documents, bytes), and
    how many documents there are below each of `EDGES`, and above the last."""

    documents: int
    bytes: int
    sources: tuple[tuple[str, int, int], ...]
    by_size: tuple[int, ...]


class DocumentStore:
    """Reads only the row groups that are asked for, a few megabytes each."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the one of the data or the corpus. Raises FileNotFoundError where it holds no documents."""
        self._groups: list[tuple[Path, int, int]] = []
        for path in sorted((folder / "documents").glob("documents-*.parquet")):
            metadata = _open(path).metadata
            self._groups.extend(
                (path, group, metadata.row_group(group).num_rows) for group in range(metadata.num_row_groups)
            )
        if not self._groups:
            raise FileNotFoundError(f"{folder} holds no documents.")

    @property
    def count(self) -> int:
        return sum(rows for _, _, rows in self._groups)

    def page(self, start: int, size: int = PAGE) -> Found:
        """The documents from place `start` on."""
        found = [
            _excerpt(place, row, at=0)
            for first, table in self._tables(start, stop=start + size)
            for place, row in _rows(table, first, start, start + size)
        ]
        after = start + size
        return Found(tuple(found), after if after < self.count else None)

    def search(self, query: str, start: int = 0, size: int = PAGE) -> Found:
        """The documents from `start` on whose text or source holds the query, large letters or small."""
        found: list[Excerpt] = []
        for first, table in self._tables(start, stop=self.count):
            for place in self._matches(table, query):
                if first + place < start:
                    continue
                if len(found) == size:
                    return Found(tuple(found), first + place)
                row = table.slice(place, 1).to_pylist()[0]
                found.append(_excerpt(first + place, row, at=_position(row["text"], query)))
        return Found(tuple(found), None)

    def sizes(self) -> Sizes:
        """What the documents are from, and how long they are."""
        sources: Counter[str] = Counter()
        amounts: Counter[str] = Counter()
        by_size = [0] * (len(EDGES) + 1)
        documents = total = 0
        for source, size in islice(self._columns(), COUNTED):
            name = source_group(source)
            sources[name] += 1
            amounts[name] += size
            by_size[sum(size >= edge for edge in EDGES)] += 1
            documents += 1
            total += size
        largest = tuple((name, sources[name], size) for name, size in amounts.most_common(MOST_SOURCES))
        return Sizes(documents, total, largest, tuple(by_size))

    def _tables(self, start: int, *, stop: int) -> Iterator[tuple[int, pyarrow.Table]]:
        """(place of the first document, documents) of each row group that holds some from `start` to `stop`."""
        first = 0
        for path, group, rows in self._groups:
            if first >= stop:
                return
            if first + rows > start:
                columns = ["id", "source", "bytes", "meta", "text"]
                yield first, _open(path).read_row_group(group, columns=columns, use_threads=False)
            first += rows

    def _columns(self) -> Iterator[tuple[str, int]]:
        for path in dict.fromkeys(path for path, _, _ in self._groups):
            file = _open(path)
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["source", "bytes"], use_threads=False)
                yield from zip(table.column("source").to_pylist(), table.column("bytes").to_pylist(), strict=True)

    def _matches(self, table: pyarrow.Table, query: str) -> list[int]:
        import pyarrow.compute as compute

        either = compute.or_(
            compute.match_substring(table.column("text"), query, ignore_case=True),
            compute.match_substring(table.column("source"), query, ignore_case=True),
        )
        places: list[int] = compute.indices_nonzero(either).to_pylist()
        return places


def source_group(source: str) -> str:
    """What a document's source is a part of: the host of an address, the file of a row, the folder of a file."""
    if "://" in source:
        return urlsplit(source).netloc or source
    file, _, row = source.rpartition(":")
    if file and row.isdecimal():
        return file
    folder, _, name = source.rpartition("/")
    return folder or name


def excerpt_parts(text: str, query: str) -> list[tuple[str, bool]]:
    """A text in pieces, and whether each is what was looked for."""
    if not query:
        return [(text, False)]
    pieces = re.split(f"({re.escape(query)})", text, flags=re.IGNORECASE)
    return [(piece, place % 2 == 1) for place, piece in enumerate(pieces) if piece]


def _rows(table: pyarrow.Table, first: int, start: int, stop: int) -> Iterator[tuple[int, dict[str, Any]]]:
    low, high = max(0, start - first), min(table.num_rows, stop - first)
    for place, row in enumerate(table.slice(low, max(0, high - low)).to_pylist(), start=low):
        yield first + place, row


def _excerpt(place: int, row: Mapping[str, Any], *, at: int) -> Excerpt:
    text = row["text"]
    begin = max(0, at - EXCERPT // 4) if at > EXCERPT else 0
    shown = text[begin : begin + MOST_CHARACTERS]
    facts = {name: str(value) for name, value in json.loads(row["meta"] or "{}").items()}
    return Excerpt(
        place, row["id"], row["source"], row["bytes"], facts, ("… " if begin else "") + shown, len(text) - len(shown)
    )


def _position(text: str, query: str) -> int:
    found = re.search(re.escape(query), text, flags=re.IGNORECASE)
    return found.start() if found else 0


def _open(path: Path) -> pyarrow.parquet.ParquetFile:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        if not path.exists():
            raise FileNotFoundError(str(path)) from error
        raise ValueError(f"{path} is damaged ({error}).") from error


def shown_size(size: float) -> str:
    """Bytes for a person."""
    for unit, amount in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(size) >= amount:
            return f"{size / amount:,.1f} {unit}"
    return f"{size:,.0f} B"


def edge_labels() -> Sequence[str]:
    """The sizes that are counted together, in words."""
    edges = [shown_size(edge).replace(".0 ", " ") for edge in EDGES]
    return [f"< {edges[0]}", *(f"{low} –" for low in edges[:-1]), f"≥ {edges[-1]}"]
