"""Rows sorted on disk come out as numpy sorts them in memory, whatever the memory."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.duplicates import external_sort
from ensue.text.duplicates.disk_array import PAGES_A_TOUCH, DiskArray
from ensue.text.duplicates.external_sort import ExternalSort

ROWS = st.lists(st.tuples(*[st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))] * 3), max_size=60)


@settings(max_examples=100)
@given(rows=ROWS, unique=st.booleans(), memory=st.sampled_from([1, 300, 1 << 20]), cut=st.integers(1, 7))
def test_rows_come_out_as_python_sorts_them(tmp_path_factory, rows, unique, memory, cut):
    folder = tmp_path_factory.mktemp("sort") / "rows"
    sorting = ExternalSort(folder, columns=3, memory=memory, unique=unique)
    for first in range(0, len(rows), cut):
        sorting.add(np.array(rows[first : first + cut], np.uint64))
    found = [tuple(row) for block in sorting.sorted_blocks() for row in block.tolist()]
    assert found == sorted(set(rows) if unique else rows)
    assert not folder.exists()


def test_many_runs_are_merged_in_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(external_sort, "SMALLEST_BLOCK", 100)
    rows = np.random.default_rng(0).integers(0, 500, (5000, 2)).astype(np.uint64)
    for unique in (False, True):
        sorting = ExternalSort(tmp_path / "rows", columns=2, memory=2000, unique=unique)
        for part in np.array_split(rows, 13):
            sorting.add(part)
        found = np.concatenate(list(sorting.sorted_blocks()))
        expected = np.unique(rows, axis=0) if unique else rows[np.lexsort(rows.T[::-1])]
        assert np.array_equal(found, expected)


def test_disk_array_is_an_array_in_little_room(tmp_path):
    values = np.arange(300_000)
    array = DiskArray(tmp_path / "values", np.int64, room=3 * PAGES_A_TOUCH)
    for part in np.array_split(values, 7):
        array.append(part)
    array.open()
    assert not array.fits
    array.array[17] = -1
    array.release()
    assert array.array[17] == -1
    places = np.random.default_rng(0).permutation(300_000)[:100]
    assert np.array_equal(array.take(places), array.array[places])
    assert np.array_equal(np.concatenate([block for _, block in array.blocks()]), array.array)


def test_empty_array_and_empty_sort(tmp_path):
    assert DiskArray(tmp_path / "nothing", np.int64, room=1).open().take(np.empty(0, np.int64)).tolist() == []
    assert list(ExternalSort(tmp_path / "rows", columns=2, memory=1000).sorted_blocks()) == []
