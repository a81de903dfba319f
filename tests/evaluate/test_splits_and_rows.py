"""Rows are found and read the same way whatever file or dataset they are in, and what is wrong with one is said."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from ensue.evaluate.rows import read_rows
from ensue.evaluate.splits import find_split
from ensue.evaluate.task import Files

ROWS = [
    {"text": "plain", "label": 0},
    {"text": 'said "yes", and\nleft \u2028 there', "label": 1},
    {"text": "天地玄黃", "label": 0},
]
TEXT_ROWS = [{"text": "plain", "label": "0"}, {"text": 'he said "yes', "label": "1"}, {"text": "天地", "label": "2"}]


def packed(path: Path, content: bytes) -> None:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix == ".zst":
        path.write_bytes(pyarrow.compress(content, codec="zstd", asbytes=True))
    else:
        path.write_bytes(content)


def read(data: Path, name: str, **settings: Any) -> list[Any]:
    files = Files(name, **settings)
    return read_rows(find_split(data, name, role="test", any_ending=files.read is not None), files)


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_json_lines(tmp_path: Path, packing: str) -> None:
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    packed(tmp_path / f"a_test.jsonl{packing}", ("\ufeff" + lines).encode())
    assert read(tmp_path, "a_test") == ROWS


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_tables(tmp_path: Path, packing: str) -> None:
    packed(tmp_path / f"c.csv{packing}", 'text,label\nplain,0\n"he said ""yes",1\r\n天地,2\n'.encode())
    packed(tmp_path / f"t.tsv{packing}", 'text\tlabel\nplain\t0\nhe said "yes\t1\n天地\t2\n'.encode())
    assert read(tmp_path, "c") == TEXT_ROWS
    assert read(tmp_path, "t") == TEXT_ROWS


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_parquet(tmp_path: Path, packing: str) -> None:
    table = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), table)
    packed(tmp_path / f"p.parquet{packing}", table.getvalue().to_pybytes())
    assert read(tmp_path, "p") == ROWS


def test_a_folder_of_files_is_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number, row in enumerate(ROWS):
        (tmp_path / "many" / f"part-{number}.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert read(tmp_path, "many") == ROWS


def test_datasets_saved_by_their_own_library(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_list(ROWS * 40)
    whole.save_to_disk(tmp_path / "single", num_shards=3)
    both = datasets.DatasetDict({"train": whole.select(range(5)), "validation": whole.shuffle(seed=1).select(range(7))})
    both.save_to_disk(tmp_path / "pair")
    (tmp_path / "hub" / "data").mkdir(parents=True)
    whole.select(range(4)).to_parquet(tmp_path / "hub" / "data" / "test-00000-of-00001.parquet")
    both["train"].to_parquet(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet")

    assert read(tmp_path, "single") == ROWS * 40
    assert read(tmp_path, "pair") == both["validation"].to_list()
    assert read(tmp_path, "pair_val") == both["validation"].to_list()
    assert read(tmp_path, "pair_train") == both["train"].to_list()
    assert read(tmp_path, "hub") == whole.to_list()[:4]
    assert read_rows(find_split(tmp_path, "hub", role="train"), Files("hub")) == whole.to_list()[:5]
    with pytest.raises(FileNotFoundError, match=r"has no split validation; it has: test, train"):
        read(tmp_path, "hub_dev")


def test_a_reader_of_the_tasks_own(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_text("one|two", encoding="utf-8")

    def pieces(path: str) -> Iterator[dict[str, str]]:
        return ({"text": piece} for piece in Path(path).read_text(encoding="utf-8").split("|"))

    assert read(tmp_path, "odd", read=pieces) == [{"text": "one"}, {"text": "two"}]
    assert find_split(tmp_path, "odd", role="test", any_ending=True).digest()


def test_a_digest_is_of_the_bytes(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "a.jsonl").write_bytes(b'{"text": "x"}\n')
    assert find_split(tmp_path, "a", role="test").digest() == hashlib.sha256(b'{"text": "x"}\n').hexdigest()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "rocstorie_test.jsonl").write_text("{}", encoding="utf-8")
    with pytest.raises(FileNotFoundError) as error:
        find_split(tmp_path, "rocstories_test", role="test", origin="https://example.org/stories")
    said = str(error.value)
    for part in (
        str(tmp_path),
        ".jsonl, .csv, .tsv, .parquet",
        ".zst",
        "rocstorie_test",
        "https://example.org/stories",
    ):
        assert part in said
    with pytest.raises(FileNotFoundError, match=r"no data folder .*nowhere.*--data DIR"):
        find_split(tmp_path / "nowhere", "a", role="test")


def test_missing_columns_are_named_with_the_first_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"sentence": "it rains", "label": 1}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"has no text and no id; its columns are sentence, label.*it rains"):
        read(tmp_path, "a", columns=("text", "id", "label"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"\n", "is empty"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2, is not JSON"),
        ("a.jsonl", b"[1]\n", "no object with named columns"),
        ("a.jsonl", b'{"a": "\xff"}\n', "not UTF-8"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999)[:-9], "damaged"),
        ("a.jsonl.zst", b"no zstd", "damaged"),
        ("a.csv", b"text,label\nx,1,2\n", "line 2, has 3 columns and the first line 2"),
        ("a.csv", b'text,label\n"x,1\n', "line 2"),
        ("a.tsv", b"text\tlabel\n", "is empty"),
        ("a.parquet", b"PAR1 not", "damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        read(tmp_path, "a")
    assert str(tmp_path / name) in str(error.value)
