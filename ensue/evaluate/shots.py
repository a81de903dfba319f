"""Which examples stand before an item: drawn with a seed, as many as fit the window."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ensue.core.seeds import seed_for
from ensue.evaluate.scorer import Scorer, room_for_prompt
from ensue.evaluate.task import Choices, Item, Question, Row, Target, Task, shown


@dataclass(frozen=True)
class Pool:
    """Rows that examples are drawn from, and their numbers in the file; `same` draws one set for all items."""

    numbers: Sequence[int]
    rows: Sequence[Row]
    same: bool = False


def draw(pool: Pool, count: int, *, seed: int, task: str, number: int, row: Row) -> list[int]:
    """Places in the pool for the examples of an item, as they were drawn: fewer are the beginning of more.

    A row that reads the same as the item is never among them, so that a pool may be what is tested itself. Where there
    are fewer than `count`, all there are.
    """
    chance = random.Random(seed_for(seed, "shots", task, "all" if pool.same else number))
    size = len(pool.rows)
    moved: dict[int, int] = {}
    drawn: list[int] = []
    for place in range(size):  # a shuffle of Fisher and Yates that stops early
        if len(drawn) == count:
            break
        other = chance.randrange(place, size)
        picked = moved.get(other, other)
        moved[other] = moved.get(place, place)
        if pool.rows[picked] != row:
            drawn.append(picked)
    return drawn


def demonstration(task: Task, row: Row) -> str:
    """A row as an example."""
    return shown(task.item(row)) if task.demonstration is None else task.demonstration(row)


def fitting(task: Task, item: Item, texts: Sequence[str], scorer: Scorer) -> int:
    """How many of these examples, in the order they were drawn, fit the model's window with the item.

    All of them where the window or the number of tokens is not known.
    """
    fit, too_many, middle = 0, len(texts) + 1, len(texts)  # most often all of them fit
    while fit + 1 < too_many:
        if _fits(task, item, before(task, texts[:middle]), scorer):
            fit = middle
        else:
            too_many = middle
        middle = (fit + too_many) // 2
    return fit


def before(task: Task, texts: Sequence[str]) -> str:
    """All that stands before an item: the header, and the examples with the first drawn nearest to the item."""
    return task.header + "".join(text + task.separator for text in reversed(texts))


def _fits(task: Task, item: Item, start: str, scorer: Scorer) -> bool:
    window = scorer.window()
    if window is None:
        return True
    room = room_for_prompt(window, task.decoding) if isinstance(item, Question) else window
    counts = (scorer.count(start + text) for text in _longest(item))
    return all(count is None or count <= room for count in counts)


def _longest(item: Item) -> list[str]:
    """The texts of an item that have to fit the window."""
    if isinstance(item, Choices):
        return [option.context + option.continuation for option in item.options]
    if isinstance(item, Target):
        return [item.context + item.continuation]
    assert isinstance(item, Question), "a passage has no examples"
    return [item.context]
