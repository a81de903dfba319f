"""Tasks by what a user types: built-in ones by name, and a Python file's own."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ensue.evaluate.builtin import task_called
from ensue.evaluate.task import Task
from ensue.evaluate.tasks.language_modelling import plain_text

TEXTS = re.compile(r"\.txt$|\.txt\.gz$|\.(jsonl|parquet)(\.gz|\.zst)?$")


def chosen_tasks(names: Sequence[str], *, tell: Callable[[str], None] = print) -> list[Task]:
    """The tasks of these names, in order; NAME.py stands for all tasks of a file, FILE.py:NAME for one of them.

    A text (.txt), or a file of rows with a column `text` (.jsonl, .parquet), packed or not, is language modelling of
    it. A Python file is run, which `tell` is told first: it can do whatever its author could. Raises ValueError for an
    unknown or repeated name.
    """
    files: dict[str, tuple[Task, ...]] = {}
    tasks: list[Task] = []
    for name in names:
        if TEXTS.search(name):
            tasks.append(plain_text(name))
            continue
        file, colon, inner = name.rpartition(":") if ".py:" in name else (name, "", "")
        if not file.endswith(".py"):
            tasks.append(task_called(name))
            continue
        if file not in files:
            files[file] = tasks_in_file(Path(file), tell=tell)
        tasks.extend([task_called(inner, files[file])] if colon else files[file])
    _check_names(tasks)
    return tasks


def tasks_in_file(path: Path, *, tell: Callable[[str], None] = print) -> tuple[Task, ...]:
    """What TASKS is in a Python file, which is run; `tell` is told so before.

    Raises FileNotFoundError or ValueError where there is no such file, it fails, or TASKS is no list of tasks.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} to read tasks from.")
    tell(f"running {path} for its tasks")
    name = f"ensue_user_tasks_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses of the file look for their own annotations
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} failed: {type(error).__name__}: {error}") from error
    tasks = vars(module).get("TASKS")
    if not isinstance(tasks, (tuple, list)) or not tasks or not all(isinstance(task, Task) for task in tasks):
        raise ValueError(f"{path} should say which tasks it has: TASKS = (MY_TASK,), of ensue.evaluate.task.Task.")
    return tuple(tasks)


def _check_names(tasks: Sequence[Task]) -> None:
    names = [task.name for task in tasks]
    if not names:
        raise ValueError("say what to measure: --tasks rocstories; all there are: ensue evaluate --list")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} is asked for twice; each task has one name and one place.")
