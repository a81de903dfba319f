"""The rows that a step of a fine-tuning run read can be asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ensue.core.run import RunFolder
from ensue.recipes.finetuning.why import is_tuning, show_rows


def test_rows_of_steps(
    model: Path,
    tmp_path: Path,
    ensue: Callable[..., tuple[int, str]],
    write_rows: Callable[..., Path],
    make_rows: Callable[..., Any],
) -> None:
    table, path = write_rows(tmp_path / "some.jsonl", make_rows("classify", 40, 3)), tmp_path / "run"
    code, said = ensue("finetune", model, table, "--run", path, "--epochs", "2", "--batch", "9", "--precision", "fp32")
    assert code == 0, said
    run = RunFolder.open(path)
    assert is_tuning(run)
    read = [json.loads(show_rows(run, step, as_json=True)) for step in range(1, 9)]
    assert all(step["trained"] for step in read)
    first_epoch = [row for step in read[:4] for row in step["rows"]]
    assert len(set(first_epoch)) == 36  # each row once an epoch, 4 of them held out
    assert set(first_epoch) == {row for step in read[4:] for row in step["rows"]}
    numbers = [int(row.removeprefix(f"{table}:")) for row in first_epoch]
    assert set(numbers) <= set(range(1, 41))
    assert show_rows(run, 1, as_json=False).endswith("step 1 read 9 rows")
    with pytest.raises(ValueError, match="has 8 steps"):
        show_rows(run, 9, as_json=False)
    write_rows(table, make_rows("classify", 40, 4))
    with pytest.raises(ValueError, match="no longer holds what"):
        show_rows(run, 1, as_json=False)
