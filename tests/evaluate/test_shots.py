"""Examples: drawn by a seed, fewer the beginning of more, never the item itself, as many as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensue.evaluate.local import LocalScorer
from ensue.evaluate.metrics import accuracy
from ensue.evaluate.shots import Pool, before, demonstration, draw, fitting
from ensue.evaluate.task import Choices, Files, Item, Option, Question, Row, Target, Task


def item_of(row: Row) -> Item:
    return Choices(tuple(Option(row["start"], end) for end in row["ends"]), row["right"])


FOX = Task(name="fox", about="", files=Files("fox_test", "fox_train"), item=item_of, metrics=(accuracy("token"),))


@given(size=st.integers(1, 40), count=st.integers(0, 45), number=st.integers(0, 39), same=st.booleans())
def test_draws(size: int, count: int, number: int, same: bool) -> None:
    rows = [{"text": place // 2} for place in range(size)]  # each row twice
    row = rows[number % size]
    pool = Pool(range(size), rows, same)
    drawn = draw(pool, count, seed=3, task="t", number=number, row=row)
    assert len(set(drawn)) == len(drawn) == min(count, sum(other != row for other in rows))
    assert all(rows[place] != row for place in drawn)
    assert drawn == draw(pool, count + 1, seed=3, task="t", number=number, row=row)[:count]


def test_every_row_is_drawn_alike() -> None:
    pool = Pool(range(5), [{"text": place} for place in range(5)])
    counts = [0] * 5
    for number in range(5000):
        for place in draw(pool, 2, seed=0, task="t", number=number, row={}):
            counts[place] += 1
    assert all(1850 < count < 2150 for count in counts)  # 2,000 expected, standard deviation 35


def test_the_same_for_all_but_the_item_itself() -> None:
    pool = Pool(range(30), [{"text": place} for place in range(30)], same=True)
    draws = [draw(pool, 4, seed=0, task="t", number=n, row={"text": n}) for n in range(30)]
    often = max(draws, key=draws.count)
    assert draws.count(often) == 26
    assert all(number not in drawn for number, drawn in enumerate(draws))


def test_how_they_stand(fox_rows: list[dict[str, Any]]) -> None:
    texts = [demonstration(FOX, row) for row in fox_rows[:2]]
    assert texts == ["The fox said 0: I sing.", "The crow said 1: I see the dark wood!"]
    assert before(FOX, texts) == f"{texts[1]}\n\n{texts[0]}\n\n"


@dataclass(frozen=True)
class Counting(LocalScorer):
    """As narrow as it is told."""

    narrow: int = 96

    def window(self) -> int:
        return self.narrow


@pytest.mark.parametrize(
    "item",
    [
        Choices((Option("The fox", " sang"), Option("The old fox", " sang a long song")), 0),
        Target("The fox", " sang"),
        Question("The fox", ("sang",)),
    ],
)
def test_as_many_as_fit(small_scorer: LocalScorer, item: Item) -> None:
    texts = [f"The crow said {'caw ' * (number % 3)}{number}." for number in range(7)]
    for narrow in range(1, 190):
        scorer = Counting(small_scorer.lm, narrow=narrow)
        room = narrow if not isinstance(item, Question) else max(narrow - 64, narrow - narrow // 2)
        fit = [
            count
            for count in range(8)
            if max(scorer.count(before(FOX, texts[:count]) + text) for text in all_texts(item)) <= room
        ]
        assert fitting(FOX, item, texts, scorer) == max(fit, default=0)


def all_texts(item: Item) -> Sequence[str]:
    if isinstance(item, Choices):
        return [option.context + option.continuation for option in item.options]
    if isinstance(item, Target):
        return [item.context + item.continuation]
    assert isinstance(item, Question)
    return [item.context]


def test_all_where_the_window_is_not_known(small_scorer: LocalScorer) -> None:
    @dataclass(frozen=True)
    class Unknown(LocalScorer):
        def window(self) -> Any:
            return None

    assert fitting(FOX, Target("a", "b"), ["x" * 500] * 9, Unknown(small_scorer.lm)) == 9
