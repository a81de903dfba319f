"""A task with its rows: which of them are asked, and what examples are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensue.core.seeds import seed_for
from ensue.evaluate.definition import definition_digest
from ensue.evaluate.rows import read_rows, show_row
from ensue.evaluate.shots import Pool
from ensue.evaluate.splits import Split, find_split
from ensue.evaluate.task import Choices, Item, Passage, Question, Row, Target, Task


@dataclass(frozen=True)
class Loaded:
    """A task with its rows.

    numbers  of the rows that are asked, in the file's order
    pool     what examples are drawn from; None where none are asked for
    digests  hex SHA-256 of the definition, and of the files of the test and the training split
    """

    task: Task
    numbers: tuple[int, ...]
    rows: Sequence[Row]
    pool: Pool | None
    test: Split
    digests: dict[str, str]


def load_task(
    task: Task, data: Path, *, shots: int, limit: int | None = None, seed: int = 0, same_shots: bool = False
) -> Loaded:
    """Read the task's rows in the folder `data`, and those to draw up to `shots` examples from.

    `limit` takes so many of the rows, drawn with the seed; fewer are the beginning of more. Raises FileNotFoundError or
    ValueError for files that are missing, damaged, or not the task's.
    """
    files = task.files
    test = _find(task, data, test=True)
    rows = read_rows(test, files)
    numbers = _kept(task, rows)
    if not numbers:
        raise ValueError(f"{task.name}: none of the {len(rows):,} rows of {test.paths[0]} belongs to this task.")
    if limit is not None and limit < 1:
        raise ValueError(f"--limit {limit} asks nothing; give 1 or more.")
    drawn = sorted(numbers, key=lambda number: seed_for(seed, "limit", task.name, number))[:limit]
    digests = {"definition": definition_digest(task), "test": test.digest()}
    pool = None
    if shots:
        if isinstance(make_item(task, rows, numbers[0]), Passage):
            raise ValueError(f"{task.name} foretells whole texts, before which nothing is shown; give --shots 0.")
        if files.train is None:
            raise ValueError(f"{task.name} has no training split to draw examples from; give --shots 0.")
        train = _find(task, data, test=False)
        others = rows if train.paths == test.paths else read_rows(train, files)
        digests["train"] = train.digest()
        there = _kept(task, others)
        pool = Pool(there, [others[number] for number in there], same_shots)
    return Loaded(task, tuple(sorted(drawn)), rows, pool, test, digests)


def make_item(task: Task, rows: Sequence[Row], number: int) -> Item:
    """The item of a row. Raises ValueError, showing the row, where it cannot be one."""
    row = rows[number]
    try:
        item = task.item(row)
        _check(item)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        said = str(error) if type(error) is ValueError else repr(error)
        raise ValueError(
            f"{task.name}, row {number}, is no item of this task: {said}. The row: {show_row(row)}"
        ) from error
    return item


def _find(task: Task, data: Path, *, test: bool) -> Split:
    files = task.files
    name = files.test if test else files.train
    assert name is not None
    return find_split(
        data, name, role="test" if test else "train", origin=files.origin, any_ending=files.read is not None
    )


def _kept(task: Task, rows: Sequence[Row]) -> list[int]:
    return [number for number, row in enumerate(rows) if task.keep is None or task.keep(row)]


def _check(item: Item) -> None:
    if isinstance(item, Choices):
        if not 0 <= item.answer < len(item.options):
            raise ValueError(f"its answer is {item.answer}, of {len(item.options)} options counted from 0")
        if not all(option.continuation for option in item.options):
            raise ValueError("an option has no text to score")
    elif isinstance(item, Target):
        if not item.continuation:
            raise ValueError("it has no text to foretell")
    elif isinstance(item, Question):
        if not item.answers:
            raise ValueError("it has no answer")
    elif not item.text:
        raise ValueError("its text is empty")
