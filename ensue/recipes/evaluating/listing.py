"""All tasks: what they measure, the files they need, and whether those are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ensue.evaluate.splits import Role, find_split
from ensue.evaluate.task import Task


@dataclass(frozen=True)
class Listed:
    """A task and its files: `test` and `train` are their names, `..._there` whether they are in the data folder."""

    name: str
    about: str
    shots: int
    test: str
    train: str | None
    test_there: bool
    train_there: bool
    origin: str


def list_tasks(tasks: Sequence[Task], data: Path) -> list[Listed]:
    """The tasks in order, with a look into the folder `data`."""
    return [
        Listed(
            name=task.name,
            about=task.about,
            shots=task.shots,
            test=task.files.test,
            train=task.files.train,
            test_there=_is_there(task, data, task.files.test, "test"),
            train_there=task.files.train is not None and _is_there(task, data, task.files.train, "train"),
            origin=task.files.origin,
        )
        for task in tasks
    ]


def described(listed: Sequence[Listed]) -> list[dict[str, Any]]:
    """As plain values for JSON."""
    return [asdict(task) for task in listed]


def as_table(listed: Sequence[Listed], data: Path) -> Table:
    """A line a task, for a terminal, with the first sentence of what it is about."""
    table = Table(box=None, pad_edge=False)
    for name in ("task", "shots", f"in {data}", "what it measures"):
        table.add_column(name, justify="right" if name == "shots" else "left")
    for task in listed:
        table.add_row(task.name, str(task.shots), _found(task), task.about.partition(". ")[0])
    return table


def in_words(listed: Sequence[Listed], data: Path) -> str:
    """All there is to say of each."""
    return "\n\n".join(
        f"{task.name}: {task.about}\n"
        f"  asked of   {task.test}{'' if task.test_there else f' (not in {data})'}\n"
        f"  examples   {_examples(task, data)}; {task.shots} in its paper\n"
        f"  originals  {task.origin or '-'}"
        for task in listed
    )


def _found(task: Listed) -> str:
    if not task.test_there:
        return "missing"
    return "no examples" if task.train is not None and not task.train_there else "there"


def _examples(task: Listed, data: Path) -> str:
    if task.train is None:
        return "none"
    if task.train == task.test:
        return "from the same rows"
    return f"from {task.train}{'' if task.train_there else f' (not in {data})'}"


def _is_there(task: Task, data: Path, name: str, role: Role) -> bool:
    try:
        find_split(data, name, role=role, any_ending=task.files.read is not None)
    except FileNotFoundError:
        return False
    return True
