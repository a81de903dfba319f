"""Tables made without pandas: the same bytes as pyarrow's own way makes."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from ensue.core.columns import column_numbers, make_table

SCHEMA = pyarrow.schema([("text", pyarrow.string()), ("signed", pyarrow.int64()), ("narrow", pyarrow.uint32())])


def packed(table: pyarrow.Table) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"])),
            st.integers(-(2**63), 2**63 - 1),
            st.integers(0, 2**32 - 1),
        )
    )
)
def test_the_same_as_pyarrow(rows: list[tuple[str, int, int]]) -> None:
    columns = [[row[place] for row in rows] for place in range(3)]
    ours, theirs = make_table(columns, SCHEMA), pyarrow.table(columns, schema=SCHEMA)
    ours.validate(full=True)
    assert ours.equals(theirs)
    assert packed(ours) == packed(theirs)


def test_arrays_and_what_is_no_text() -> None:
    table = make_table([["a", "b"], np.array([1, 2]), np.array([3, 4], np.int32)], SCHEMA)
    assert table.to_pylist() == [{"text": "a", "signed": 1, "narrow": 3}, {"text": "b", "signed": 2, "narrow": 4}]
    with pytest.raises(UnicodeEncodeError):
        make_table([["\ud800"], [1], [1]], SCHEMA)


def test_numbers_of_columns() -> None:
    column = pyarrow.chunked_array([[1, 2, 3], [], [4]], pyarrow.int64())
    assert column_numbers(column.slice(1)).tolist() == [2, 3, 4]
    assert column_numbers(pyarrow.chunked_array([], pyarrow.int64())).tolist() == []


def test_pandas_is_not_loaded() -> None:
    code = (
        "import sys, pyarrow as p; from ensue.core.columns import column_numbers, make_table;"
        "table = make_table([['x'], [1]], p.schema([('a', p.string()), ('b', p.int64())]));"
        "print(column_numbers(table.column(1)), 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[1] False\n"
