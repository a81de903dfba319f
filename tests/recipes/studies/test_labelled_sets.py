"""The parts of labelled sets: the paper's split, nothing in two parts, and what a missing file says."""

import json
from pathlib import Path

import pytest

from ensue.recipes.finetuning.table import read_table
from ensue.recipes.studies.labelled_sets import SETS, labelled_set, write_parts


def rows(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_rocstories_is_split_as_in_the_papers_code(shared_data: Path, tmp_path: Path) -> None:
    from sklearn.model_selection import train_test_split

    parts = write_parts(SETS["rocstories"], shared_data / "tasks", tmp_path, train_limit=None, test_limit=None)
    whole = [dict(row.values) for row in read_table(shared_data / "tasks" / "rocstories_val.jsonl").rows]
    train, valid = train_test_split(whole, test_size=374, random_state=3535999445)
    read = [sorted(rows(part)) for part in (parts.train, parts.valid)]
    assert read == [sorted(json.dumps(row, ensure_ascii=False) for row in part) for part in (train, valid)]
    assert [len(part) for part in read] == [1497, 374]
    assert len(rows(parts.test)) == 1871


@pytest.mark.parametrize("name", ["sst2", "rte"])
def test_no_row_is_in_two_parts(name: str, shared_data: Path, tmp_path: Path) -> None:
    parts = write_parts(SETS[name], shared_data / "tasks", tmp_path, train_limit=900, test_limit=500)
    train, test = rows(parts.train), rows(parts.test)
    assert (len(train), len(rows(parts.valid)), len(test)) == (900, SETS[name].valid, 500)
    assert not {json.dumps(what_is_read(row)) for row in train} & {json.dumps(what_is_read(row)) for row in test}
    again = write_parts(SETS[name], shared_data / "tasks", tmp_path / "again", train_limit=900, test_limit=500)
    assert rows(again.train) == train


def what_is_read(line: str) -> dict[str, str]:
    return {name: value for name, value in sorted(json.loads(line).items()) if name not in {"id", "label"}}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"rte_train.jsonl"):
        write_parts(SETS["rte"], tmp_path, tmp_path / "out", train_limit=None, test_limit=None)
    with pytest.raises(ValueError, match="rocstories"):
        labelled_set("rocstory")
