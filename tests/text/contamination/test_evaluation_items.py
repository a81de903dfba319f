"""Evaluation files of every kind, and the index of what stands in them."""

import gzip
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from ensue.text.contamination.evaluation import evaluation_grams, index_evaluation
from ensue.text.contamination.grams import GramSize
from ensue.text.contamination.items import evaluation_files, read_items


def test_every_string_of_a_row_counts_lists_and_records_included(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    rows = [{"q": "one", "n": 3, "choices": ["two", {"deep": "three"}]}, ["four", None]]
    path.write_bytes(gzip.compress("\n\n".join(map(json.dumps, rows)).encode()))
    assert [(item.row, item.texts) for item in read_items(str(path))] == [(1, ("one", "two", "three")), (3, ("four",))]


def test_tables_paragraphs_and_parquet(tmp_path):
    (tmp_path / "t.csv").write_text('question,answer\n"one, two",three\nfour,five\n', encoding="utf-8")
    (tmp_path / "t.tsv").write_text("question\tanswer\none, two\tthree\n", encoding="utf-8")
    (tmp_path / "p.txt").write_text("\nfirst\nstill\n\n \nsecond", encoding="utf-8")
    table = pyarrow.table({"text": ["one", None], "list": [["two"], ["three"]], "number": [1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "q.parquet")
    read = {path: [(item.row, item.texts) for item in read_items(path)] for path in evaluation_files([tmp_path])}
    assert list(read.values()) == [
        [(2, ("first\nstill\n",)), (6, ("second",))],
        [(1, ("one", "two")), (2, ("three",))],
        [(1, ("one, two", "three")), (2, ("four", "five"))],
        [(1, ("one, two", "three"))],
    ]


def test_what_cannot_be_read_is_an_error_that_names_it(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"a": "b"}\n{"a": \n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.jsonl .*line 2"):
        list(read_items(str(tmp_path / "bad.jsonl")))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"bad\.parquet .*damaged"):
        list(read_items(str(tmp_path / "bad.parquet")))
    (tmp_path / "bad.jsonl.gz").write_bytes(gzip.compress(b'{"a": "b"}\n' * 9)[:-9])
    with pytest.raises(ValueError, match="cut short"):
        list(read_items(str(tmp_path / "bad.jsonl.gz")))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        evaluation_files([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no evaluation files"):
        evaluation_files([tmp_path / "empty"])
    with pytest.raises(ValueError, match="not a kind"):
        list(read_items(str(tmp_path / "picture.png")))


def test_the_index_knows_where_each_gram_stands_first(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"q": "short"}, {"q": "a b c d", "r": "x y z"}, {"q": "B c D e"}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    index, digest = index_evaluation((str(path),), GramSize(3), memory=1 << 20)
    known = evaluation_grams((str(path),), GramSize(3))
    assert index.hashes.tolist() == known.grams.hashes.tolist()
    assert digest == known.digest
    assert index.rows == 3
    assert [item.row for item in index.items] == [2, 3]
    found = [(index.items[item].row, grams, text) for item, grams, text in index.passages(np.arange(4))]
    assert found == [(2, 2, "a b c d"), (2, 1, "x y z"), (3, 1, "c D e")]
    with pytest.raises(ValueError, match="--max-memory"):
        index_evaluation((str(path),), GramSize(3), memory=10)
    with pytest.raises(ValueError, match="nothing to keep out"):
        index_evaluation((str(path),), GramSize(9), memory=1 << 20)
