"""The rows of a split: JSON lines, CSV, TSV, Parquet, Arrow, or what a task's own reader makes of a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ensue.evaluate.splits import Split
from ensue.evaluate.task import Files, Row

SHOWN_CHARACTERS = 500
"""Of a row in a message."""


def read_rows(split: Split, files: Files) -> list[Row]:
    """All rows of a split, in order.

    Raises ValueError, naming the file, for one without rows, damaged or without the columns that the task reads.
    """
    readers: list[Callable[[Path], Iterable[Any]]] = [
        _own_reader(files.read) if files.read is not None else _reader(path) for path in split.paths
    ]
    rows: list[Row] = []
    for path, reader in zip(split.paths, readers, strict=True):
        for number, row in enumerate(_reading(path, reader)):
            if not isinstance(row, Mapping):
                raise ValueError(f"{path}, row {number}: it is no object with named columns, but {_short(row)}")
            _check_columns(path, number, row, files.columns)
            rows.append(row)
    if not rows:
        raise ValueError(f"{split.paths[0]} is empty: it has no rows; put the task's original file there.")
    return rows


def show_row(row: Row) -> str:
    """A row in a message, long values cut."""
    return _short(dict(row))


def _own_reader(read: Callable[[str], Iterable[Any]]) -> Callable[[Path], Iterable[Any]]:
    return lambda path: read(str(path))


def _reading(path: Path, reader: Callable[[Path], Iterable[Any]]) -> Iterator[Any]:
    import pyarrow

    try:
        yield from reader(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start:,}).") from error
    except (OSError, EOFError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())[:300]}") from error


def _check_columns(path: Path, number: int, row: Row, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in row]
    if missing:
        raise ValueError(
            f"{path}, row {number}, has no {' and no '.join(missing)}; its columns are {', '.join(map(str, row))}. "
            f"The row: {show_row(row)}"
        )


def _reader(path: Path) -> Callable[[Path], Iterable[Any]]:
    kinds: dict[str, Callable[[Path], Iterable[Any]]] = {
        ".jsonl": _json_lines,
        ".csv": _comma_separated,
        ".tsv": _tab_separated,
        ".parquet": _parquet,
        ".arrow": _arrow,
    }
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    return next(reader for ending, reader in kinds.items() if name.endswith(ending))


def _lines(path: Path) -> io.TextIOWrapper:
    """A file's text, unpacked as its name says; line ends are left as they are."""
    return io.TextIOWrapper(io.BufferedReader(_opened(path)), encoding="utf-8-sig", newline="")


def _opened(path: Path) -> Any:
    import pyarrow

    packing = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    return pyarrow.input_stream(str(path), compression=packing)


def _json_lines(path: Path) -> Iterator[Any]:
    with _lines(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}, is not JSON ({error}).") from error


def _comma_separated(path: Path) -> Iterator[Any]:
    return _table(path, delimiter=",", quoting=csv.QUOTE_MINIMAL)


def _tab_separated(path: Path) -> Iterator[Any]:
    """Quotation marks are text: that is how GLUE and its like publish their tables."""
    return _table(path, delimiter="\t", quoting=csv.QUOTE_NONE)


def _table(path: Path, *, delimiter: str, quoting: Literal[0, 3]) -> Iterator[Any]:
    csv.field_size_limit(1 << 30)
    with _lines(path) as lines:
        table = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=quoting != csv.QUOTE_NONE)
        try:
            header = next(table, None)
            for cells in table:
                if not cells:
                    continue
                if header is None or len(cells) != len(header):
                    expected = 0 if header is None else len(header)
                    raise ValueError(
                        f"{path}, line {table.line_num}, has {len(cells)} columns and the first line {expected}."
                    )
                yield dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise ValueError(f"{path}, line {table.line_num}: {error}.") from error


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow.parquet

    if path.suffix == ".parquet":
        table = pyarrow.parquet.ParquetFile(path)
    else:
        table = pyarrow.parquet.ParquetFile(io.BytesIO(_opened(path).read()))
    return chain.from_iterable(batch.to_pylist() for batch in table.iter_batches(batch_size=1024))


def _arrow(path: Path) -> Iterator[Any]:
    """The stream format, which `datasets` saves."""
    import pyarrow
    import pyarrow.ipc

    with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as batches:
        for batch in batches:
            yield from batch.to_pylist()


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
