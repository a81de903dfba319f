"""Asking a model all items of a task, group by group; what is finished is on disk and is never asked again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ensue.evaluate.asking import ask
from ensue.evaluate.loading import Loaded, make_item
from ensue.evaluate.records import Asked, Record, alone_scores, append_records, read_records, record_of
from ensue.evaluate.scorer import Scorer, Unscorable
from ensue.evaluate.shots import before, demonstration, draw, fitting


def measure(
    loaded: Loaded,
    scorer: Scorer,
    path: Path,
    *,
    shots: int,
    seed: int = 0,
    on_items: Callable[[int], None] | None = None,
) -> list[Record]:
    """The records of all items with `shots` examples before each, in order; see `Record`.

    Those that the file `path` has already are taken from it, and every finished group is added to it. `on_items` is
    told how many items are done. Raises ValueError naming the task and the row where an item cannot be asked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    told = on_items or (lambda _: None)
    records = {record["row"]: record for record in read_records(path)}
    alone = alone_scores(list(records.values()))
    told(len(records))
    left = [number for number in loaded.numbers if number not in records]
    prepare = _Preparing(loaded, scorer, shots, seed)
    for first in range(0, len(left), scorer.at_once):
        group = [prepare(number) for number in left[first : first + scorer.at_once]]
        try:
            asked = ask(loaded.task, group, scorer, alone, seed=seed)
        except Unscorable as error:
            raise ValueError(f"{loaded.task.name}, row {group[error.place].number}: {error}") from error
        except ValueError as error:
            rows = f"rows {group[0].number} to {group[-1].number}" if len(group) > 1 else f"row {group[0].number}"
            raise ValueError(f"{loaded.task.name}, {rows}: {error}") from error
        finished = [record_of(loaded.task, each, outcome, cut=cut) for each, outcome, cut in asked]
        append_records(path, finished)
        records |= {record["row"]: record for record in finished}
        told(len(finished))
    if left:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return [records[number] for number in loaded.numbers]


class _Preparing:
    """Puts examples before an item; the text of each is made once."""

    def __init__(self, loaded: Loaded, scorer: Scorer, shots: int, seed: int) -> None:
        self._loaded, self._scorer, self._shots, self._seed = loaded, scorer, shots, seed
        self._texts: dict[int, str] = {}

    def __call__(self, number: int) -> Asked:
        task, row, pool = self._loaded.task, self._loaded.rows[number], self._loaded.pool
        item = make_item(task, self._loaded.rows, number)
        if not self._shots or pool is None:
            return Asked(number, row, item, task.header, ())
        drawn = draw(pool, self._shots, seed=self._seed, task=task.name, number=number, row=row)
        texts = [self._text(place) for place in drawn]
        fit = fitting(task, item, texts, self._scorer)
        examples = tuple(pool.numbers[place] for place in reversed(drawn[:fit]))
        return Asked(number, row, item, before(task, texts[:fit]), examples)

    def _text(self, place: int) -> str:
        pool = self._loaded.pool
        assert pool is not None
        if place not in self._texts:
            self._texts[place] = demonstration(self._loaded.task, pool.rows[place])
        return self._texts[place]
