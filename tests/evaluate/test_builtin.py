"""Every built-in task whose files are there runs as it is, from its rows to its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ensue.evaluate.builtin import BUILT_IN, task_called
from ensue.evaluate.loading import load_task
from ensue.evaluate.local import LocalScorer
from ensue.evaluate.measuring import measure
from ensue.evaluate.results import result_of
from ensue.evaluate.task import Passage, Task


def test_each_has_a_name_of_its_own_and_says_what_it_is() -> None:
    names = [task.name for task in BUILT_IN]
    assert len(set(names)) == len(names)
    assert all(task.about and task.metrics and task.files.origin for task in BUILT_IN)
    assert all(len({metric.name for metric in task.metrics}) == len(task.metrics) for task in BUILT_IN)


def test_a_name_that_is_none_has_a_near_one() -> None:
    with pytest.raises(ValueError, match="there is no task 'lambda'; did you mean 'lambada'"):
        task_called("lambda")


@pytest.mark.parametrize("task", BUILT_IN, ids=lambda task: task.name)
def test_it_runs(task: Task, small_scorer: LocalScorer, shared_data: Path, tmp_path: Path) -> None:
    try:
        loaded = load_task(task, shared_data / "tasks", shots=0, limit=2)
        shots = 0 if task.files.train is None or isinstance(task.item(loaded.rows[0]), Passage) else 1
        if shots:
            loaded = load_task(task, shared_data / "tasks", shots=shots, limit=2)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    if len(loaded.rows) < 2:
        pytest.skip("one text, long for a test")
    records = measure(loaded, small_scorer, tmp_path / "items.jsonl", shots=shots)
    told = result_of(task, shots, records, seed=0)
    assert told["items"] == len(records) == 2
    for metric in told["metrics"].values():
        assert metric["value"] is not None or metric["reason"]
