"""Evaluations: their numbers with intervals, and the items behind each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ensue.evaluate.paired import Evaluation, is_evaluation, open_evaluation
from ensue.evaluate.records import Record
from ensue.evaluate.results import RESULTS

PAGE = 8
Which = Literal["all", "right", "wrong"]


@dataclass(frozen=True)
class EvaluationChoice:
    """A folder with an evaluation; one that is not `finished` has no numbers yet."""

    name: str
    path: Path
    finished: bool


@dataclass(frozen=True)
class Number:
    """A metric of a task with so many examples: its value, the 95% interval, and how many items it is of."""

    value: float | None
    low: float | None
    high: float | None
    items: int
    reason: str | None
    better: Literal["higher", "lower"]


@dataclass(frozen=True)
class Line:
    """A line of the table: what is measured, by guessing alone, and the number of each evaluation, where it has one."""

    task: str
    shots: int
    metric: str
    chance: float | None
    numbers: tuple[Number | None, ...]


@dataclass(frozen=True)
class Items:
    """A page of the items of a task: their records, how many there are like them, and whether right can be told from
    wrong at all."""

    records: tuple[Record, ...]
    count: int
    judged: bool


def find_evaluations(places: Sequence[Path]) -> list[EvaluationChoice]:
    """The evaluations in these folders, or that they are, newest first."""
    folders = {folder.resolve(): folder for place in places for folder in _folders(place)}
    newest = sorted(folders.values(), key=lambda folder: -folder.stat().st_mtime)
    return [EvaluationChoice(folder.name, folder, (folder / RESULTS).is_file()) for folder in newest]


def open_all(choices: Sequence[EvaluationChoice]) -> list[Evaluation]:
    """Raises ValueError for one that is not finished or damaged, FileNotFoundError for one that has gone."""
    for choice in choices:
        if not choice.path.is_dir():
            raise FileNotFoundError(str(choice.path))
    return [open_evaluation(choice.path) for choice in choices]


def lines_of(evaluations: Sequence[Evaluation]) -> list[Line]:
    """The numbers of several evaluations side by side, in the order of the first that has each."""
    keys: dict[tuple[str, int, str], float | None] = {}
    numbers: list[dict[tuple[str, int, str], Number]] = []
    for evaluation in evaluations:
        found: dict[tuple[str, int, str], Number] = {}
        for result in evaluation.told["results"]:
            for metric, told in result["metrics"].items():
                key = (result["task"], result["shots"], metric)
                keys.setdefault(key, result.get("chance") if metric.startswith("accuracy") else None)
                found[key] = _number(told)
        numbers.append(found)
    return [Line(*key, chance, tuple(found.get(key) for found in numbers)) for key, chance in keys.items()]


def items_of(
    evaluation: Evaluation, task: str, shots: int, *, metric: str, which: Which, start: int = 0, size: int = PAGE
) -> Items:
    """The items behind a number; right and wrong are told by `metric`, where all its values are 0 or 1.

    Raises ValueError where the file of items is not what the results are of.
    """
    records = evaluation.records(task, shots)
    judged = all(record["values"].get(metric) in (0, 1, True, False) for record in records)
    if judged and which != "all":
        records = [record for record in records if bool(record["values"][metric]) == (which == "right")]
    return Items(tuple(records[start : start + size]), len(records), judged)


def scored_parts(record: Record) -> list[Mapping[str, Any]]:
    """What was scored of an item: options, a target, or a passage; each with `tokens` and `nats`."""
    if "options" in record:
        return list(record["options"])
    return [record] if "nats" in record else []


def right_options(record: Record) -> set[int]:
    """Which options are right."""
    answer = record.get("answer")
    if isinstance(answer, int):
        return {answer}
    return {place for place in answer or () if isinstance(place, int)}


def _number(told: Mapping[str, Any]) -> Number:
    better: Literal["higher", "lower"] = "higher" if told["higher_is_better"] else "lower"
    return Number(told["value"], told["low"], told["high"], told["n"], told["reason"], better)


def _folders(place: Path) -> Iterator[Path]:
    if is_evaluation(place):
        yield place
    elif place.is_dir():
        yield from (folder for folder in sorted(place.iterdir()) if folder.is_dir() and is_evaluation(folder))
