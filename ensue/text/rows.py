"""Documents from records: JSON lines and Parquet rows, one text field each, the short rest as meta."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ensue.text.document import Document
from ensue.text.skips import SkipReport
from ensue.text.streams import EMPTY, Unreadable, line_chunks

TEXT_FIELDS = ("text", "content", "body", "article", "document", "story")
LINE_BYTES = 64 << 20
META_CHARACTERS = 200
ROWS_AT_ONCE = 256


def read_json_lines(
    chunks: Iterable[bytes], name: str, *, skipped: SkipReport, fields: Sequence[str] = TEXT_FIELDS
) -> Iterator[Document]:
    """One document for each line that is a JSON object with a text; the others are counted in `skipped`.

    Blank lines are passed over. Raises Unreadable if the file breaks off, and for one without any line.
    """
    number = 0
    lines_with_something = 0
    for number, line in enumerate(line_chunks(chunks, limit=LINE_BYTES), start=1):
        if line is not None and not line.strip():
            continue
        lines_with_something += 1
        source = f"{name}:{number}"
        try:
            yield _document(_parsed(line), source, fields)
        except Unreadable as error:
            skipped.add(source, error.reason, error.detail)
    if not lines_with_something:
        raise Unreadable(EMPTY, "blank lines only" if number else "")


def read_parquet(
    path: Path,
    name: str,
    *,
    skipped: SkipReport,
    fields: Sequence[str] = TEXT_FIELDS,
    on_share: Callable[[int], None],
) -> Iterator[Document]:
    """One document for each row with a text, a few rows in memory at a time; `on_share` is told the bytes done so far.

    Raises Unreadable for a damaged file and for one whose columns hold no text.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            names = _simple_columns(file.schema_arrow, fields)
            row = 0
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=names):
                columns = [_values(column) for column in batch.columns]
                for values in zip(*columns, strict=True):
                    row += 1
                    source = f"{name}:{row}"
                    try:
                        yield _document(dict(zip(batch.schema.names, values, strict=True)), source, fields)
                    except Unreadable as error:
                        skipped.add(source, error.reason, error.detail)
                on_share(path.stat().st_size * row // max(file.metadata.num_rows, 1))
    except PermissionError as error:
        raise Unreadable("permission to read it is missing", str(error.strerror)) from error
    except (OSError, pyarrow.ArrowException) as error:
        raise Unreadable("the Parquet file is damaged", " ".join(str(error).split())[:300]) from error
    if not row:
        raise Unreadable(EMPTY, "no rows")


def _simple_columns(schema: Any, fields: Sequence[str]) -> list[str]:
    """The columns that hold strings, numbers, truth values or times; Unreadable if none of them can be the text."""
    import pyarrow.types as kinds

    def kind_of_value(column: Any) -> Any:
        return column.type.value_type if kinds.is_dictionary(column.type) else column.type

    strings = [
        column.name
        for column in schema
        if kinds.is_string(kind := kind_of_value(column)) or kinds.is_large_string(kind) or kinds.is_string_view(kind)
    ]
    if len(strings) != 1 and not any(field in strings for field in fields):
        listed = ", ".join(schema.names)
        raise Unreadable(
            "no field holds a text", f"its columns are {listed}; the text is looked for in {', '.join(fields)}"
        )
    others = [
        column.name
        for column in schema
        if kinds.is_integer(kind := kind_of_value(column))
        or kinds.is_floating(kind)
        or kinds.is_boolean(kind)
        or kinds.is_temporal(kind)
    ]
    return [name for name in schema.names if name in strings or name in others]


def _values(column: Any) -> list[Any]:
    """A column as Python values; a string that is not UTF-8 becomes the bytes that it is."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_value(column[index]) for index in range(len(column))]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return error.object


def _parsed(line: bytes | None) -> Any:
    if line is None:
        raise Unreadable("the line is too long", f"more than {LINE_BYTES >> 20} MiB")
    try:
        return json.loads(line.decode().removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise Unreadable(
            "the line is not UTF-8 text", f"byte 0x{line[error.start]:02x} at offset {error.start:,}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise Unreadable("the line is not JSON", str(error)) from error


def _document(record: Any, source: str, fields: Sequence[str]) -> Document:
    if not isinstance(record, Mapping):
        raise Unreadable("not a JSON object", f"it is a {type(record).__name__}")
    field = _text_field(record, fields)
    text = record[field].replace("\r\n", "\n")
    if not text or text.isspace():
        raise Unreadable("the text is empty")
    if not _can_be_stored(text):
        raise Unreadable("the text holds half a character", "a lone surrogate, written as \\ud800 to \\udfff")
    meta = {key: _short(value) for key, value in record.items() if key != field and _can_be_stored(key)}
    return Document.of(text, source, {key: value for key, value in meta.items() if value is not None})


def _text_field(record: Mapping[str, Any], fields: Sequence[str]) -> str:
    for field in fields:
        if isinstance(record.get(field), str):
            return field
    strings = [key for key, value in record.items() if isinstance(value, str)]
    if len(strings) == 1:
        return strings[0]
    raise Unreadable("no field holds a text", f"it has {', '.join(map(str, record)) or 'no fields'}"[:META_CHARACTERS])


def _short(value: Any) -> str | None:
    """A scalar as a string for meta, or None if it is no scalar or is too long to be a label."""
    if value is None or isinstance(value, (bytes, list, Mapping)):
        return None
    text = json.dumps(value) if isinstance(value, (bool, float)) else str(value)
    return text if len(text) <= META_CHARACTERS and _can_be_stored(text) else None


def _can_be_stored(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
