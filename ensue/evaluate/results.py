"""What came out of an evaluation: numbers of each task and number of examples, and the folder they are kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ensue.core.files import write_file_aside
from ensue.evaluate.records import Record, was_cut
from ensue.evaluate.statistics import estimate
from ensue.evaluate.task import Task

SETTINGS, RESULTS, ITEMS, TABLE, CURVE = "settings.json", "results.json", "items", "table.md", "curve.png"

Result = Mapping[str, Any]
"""Of one task with one number of examples: see `result_of`."""


def result_of(task: Task, shots: int, records: Sequence[Record], *, seed: int) -> dict[str, Any]:
    """Numbers over a task's records.

    `metrics` maps each name to {value, standard_error, low, high, n, reason, higher_is_better, mean}, null where a
    number does not apply, with the reason. `truncated` counts items of which something did not fit the window,
    `fewer_shots` those with fewer examples than asked for, `examples` is their mean. `chance` is what guessing gets.
    """
    metrics = {
        metric.name: {
            **asdict(estimate(metric, [record["values"][metric.name] for record in records], seed=seed)),
            "higher_is_better": metric.higher_is_better,
            "mean": metric.total is None,
        }
        for metric in task.metrics
    }
    return {
        "task": task.name,
        "shots": shots,
        "items": len(records),
        "metrics": metrics,
        "truncated": sum(map(was_cut, records)),
        "fewer_shots": sum(len(record["examples"]) < shots for record in records),
        "examples": sum(len(record["examples"]) for record in records) / len(records),
        "chance": _chance(records),
    }


def items_path(folder: Path, task: str, shots: int) -> Path:
    """Where the records of a task with so many examples are."""
    return folder / ITEMS / f"{task}-{shots}.jsonl"


def claim_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Begin an evaluation in `folder`, or go on with the same one.

    Raises ValueError, naming what differs, where another evaluation or something else is there.
    """
    record = folder / SETTINGS
    if record.is_file():
        there = read_json(record)
        if there != settings:
            raise ValueError(
                f"{folder} holds another evaluation: {_differing(there, settings)}. Give --out a new name."
            )
        return
    if folder.exists() and (not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir())):
        raise ValueError(f"{folder} is there already and holds no evaluation; give --out a new name.")
    write_file_aside(record, json.dumps(settings, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A file of an evaluation. Raises ValueError naming it if it is damaged."""
    try:
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    return read


def _differing(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """In words, in what two settings differ."""
    parts = []
    for name in dict.fromkeys([*there, *asked]):
        one, other = there.get(name), asked.get(name)
        if one == other:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            inner = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
            parts.append(f"{name} ({', '.join(inner)}) is not the same")
        else:
            parts.append(f"{name} was {json.dumps(one)} and is {json.dumps(other)}")
    return "; ".join(parts)


def _chance(records: Sequence[Record]) -> float | None:
    """The accuracy of guessing, where all items are choices."""
    if not all("chosen" in record for record in records):
        return None
    return sum(1 / len(record["options"]) for record in records) / len(records)
