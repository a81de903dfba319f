"""Columns of tables from Python values. pyarrow's own way looks for pandas first, which takes a third of a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow


def make_table(columns: Sequence[Any], schema: pyarrow.Schema) -> pyarrow.Table:
    """A table of columns (lists or arrays) of texts and of whole numbers, none missing.

    Raises UnicodeEncodeError for lone surrogates.
    """
    import pyarrow

    arrays = [
        _texts(values) if pyarrow.types.is_string(kind) else _numbers(values, kind)
        for values, kind in zip(columns, schema.types, strict=True)
    ]
    return pyarrow.Table.from_arrays(arrays, schema=schema)


def _texts(values: Sequence[str]) -> pyarrow.Array | pyarrow.ChunkedArray:
    import pyarrow

    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)])
    if ends[-1] >= 1 << 31:  # more than one such array holds
        return pyarrow.array(values, pyarrow.string())
    offsets = pyarrow.py_buffer(ends.astype(np.int32))
    return pyarrow.StringArray.from_buffers(len(values), offsets, pyarrow.py_buffer(b"".join(encoded)))


def _numbers(values: Sequence[int] | np.ndarray, kind: pyarrow.DataType) -> pyarrow.Array:
    import pyarrow

    data = np.asarray(values, kind.to_pandas_dtype())
    return pyarrow.Array.from_buffers(kind, len(values), [None, pyarrow.py_buffer(data)])


def column_numbers(column: pyarrow.ChunkedArray) -> np.ndarray:
    """A column of int64, none missing, as an array of its own. (rows,) int64."""
    chunks = [
        np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int64)
