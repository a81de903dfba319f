"""Rows of the published sets, read as an evaluation reads them, and items as a person would look at them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ensue.evaluate.rows import read_rows
from ensue.evaluate.splits import find_split
from ensue.evaluate.task import Choices, Item, Passage, Row, Task

RowsOf = Callable[[Task], Sequence[Row]]


@pytest.fixture(scope="session")
def published(shared_data: Path) -> RowsOf:
    """The rows of a task's test split; skips where the set is not among the published ones."""
    read: dict[str, Sequence[Row]] = {}

    def rows(task: Task) -> Sequence[Row]:
        files = task.files
        if files.test not in read:
            try:
                split = find_split(shared_data / "tasks", files.test, role="test", any_ending=files.read is not None)
            except FileNotFoundError:
                pytest.skip(f"{files.test} is not among the published sets")
            read[files.test] = read_rows(split, files)
        return read[files.test]

    return rows


@pytest.fixture(scope="session")
def rendered() -> Callable[[Item], str]:
    """An item with a line an option, the right one marked; where the contexts differ, each before its continuation."""

    def render(item: Item) -> str:
        if isinstance(item, Passage):
            return f"{item.text}\n({item.key})"
        assert isinstance(item, Choices)
        together = len({option.context for option in item.options}) == 1
        lines = [item.options[0].context] if together and item.options[0].context else []
        for place, option in enumerate(item.options):
            mark = "[x]" if place == item.answer else "[ ]"
            lines.append(
                f"{mark}{option.continuation}" if together else f"{mark}{option.context}|{option.continuation}"
            )
        return "\n".join(lines)

    return render
