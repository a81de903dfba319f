"""Two finished evaluations side by side: the same items under both models, and those that flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ensue.evaluate.definition import definition_digest
from ensue.evaluate.records import Record, read_records
from ensue.evaluate.results import RESULTS, SETTINGS, items_path, read_json
from ensue.evaluate.statistics import compare
from ensue.evaluate.task import Metric, Task


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation's folder, and what its results.json holds."""

    folder: Path
    told: Mapping[str, Any]

    def shots_of(self, task: str) -> list[int]:
        """With how many examples a task was measured."""
        return [result["shots"] for result in self.told["results"] if result["task"] == task]

    def result(self, task: str, shots: int) -> Mapping[str, Any]:
        """What came out of a task with so many examples."""
        found: Mapping[str, Any] = next(
            result for result in self.told["results"] if (result["task"], result["shots"]) == (task, shots)
        )
        return found

    def records(self, task: str, shots: int) -> list[Record]:
        """Its items, by row."""
        path = items_path(self.folder, task, shots)
        records = sorted(read_records(path), key=lambda record: int(record["row"]))
        if len(records) != self.result(task, shots)["items"]:
            raise ValueError(f"{path} has {len(records):,} items, not those of {RESULTS}; evaluate again.")
        return records


def is_evaluation(folder: Path) -> bool:
    """Whether an evaluation was begun there."""
    return (folder / SETTINGS).is_file()


def open_evaluation(folder: Path) -> Evaluation:
    """A finished evaluation. Raises ValueError where it is not finished."""
    if not (folder / RESULTS).is_file():
        raise ValueError(f"the evaluation in {folder} is not finished; give its own command again to go on with it.")
    return Evaluation(folder, read_json(folder / RESULTS))


def common(first: Evaluation, second: Evaluation, names: Sequence[str] = ()) -> list[tuple[str, int]]:
    """The tasks, with numbers of examples, that both were measured on; of `names` only, where any are given.

    Raises ValueError where there are none, or where a task is not the same in both.
    """
    both = [name for name in first.told["tasks"] if name in second.told["tasks"]]
    missing = [name for name in names if name not in both]
    if missing or not both:
        wanted = " and ".join(missing) or "a task"
        raise ValueError(f"{first.folder} and {second.folder} were not both measured on {wanted}.")
    pairs: list[tuple[str, int]] = []
    for name in names or both:
        one, two = (side.told["tasks"][name]["digests"] for side in (first, second))
        for part, what in (("definition", "the task's definition"), ("test", "its file")):
            if one[part] != two[part]:
                raise ValueError(f"{name} is not the same in {first.folder} and {second.folder}: {what} differs.")
        pairs.extend((name, shots) for shots in first.shots_of(name) if shots in second.shots_of(name))
    if not pairs:
        raise ValueError(f"{first.folder} and {second.folder} have no number of shots in common.")
    return pairs


def compare_task(
    first: Evaluation, second: Evaluation, name: str, shots: int, *, tasks: Sequence[Task], seed: int = 0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The differences of each metric, and the items that flipped: right under one model and wrong under the other.

    A flip is one of the first metric whose values are all 0 or 1. `tasks` are those whose metrics are more than means.
    Raises ValueError where the items are not the same.
    """
    ones, twos = first.records(name, shots), second.records(name, shots)
    if [record["row"] for record in ones] != [record["row"] for record in twos]:
        sides = f"{first.folder} and {second.folder}"
        raise ValueError(f"{name}: {sides} hold different items; evaluate both with the same --limit and --seed.")
    told: dict[str, Any] = {"task": name, "shots": shots, "items": len(ones), "metrics": {}}
    flipped: list[dict[str, Any]] | None = None
    for metric in metrics_of(first, name, shots, tasks):
        before, after = ([record["values"][metric.name] for record in side] for side in (ones, twos))
        told["metrics"][metric.name] = {
            **asdict(compare(metric, before, after, seed=seed)),
            "higher_is_better": metric.higher_is_better,
        }
        if flipped is None and {*map(str, before), *map(str, after)} <= {"0.0", "1.0", "0", "1"}:
            flipped = [
                {"row": one["row"], "id": one["id"], "first": one, "second": two}
                for one, two, a, b in zip(ones, twos, before, after, strict=True)
                if a != b
            ]
            told["flips"] = {"metric": metric.name, "items": len(flipped)}
    return told, flipped or []


def metrics_of(side: Evaluation, name: str, shots: int, tasks: Sequence[Task]) -> list[Metric]:
    """The task's metrics; where the task itself is not at hand, means are known all the same."""
    digest = side.told["tasks"][name]["digests"]["definition"]
    known = next((task for task in tasks if task.name == name and definition_digest(task) == digest), None)
    if known is not None:
        return list(known.metrics)

    def unknown(values: Sequence[Any]) -> float:
        raise ValueError("it is more than a mean, and the task is not at hand as it was; give its file with --tasks")

    return [
        Metric(
            metric,
            lambda item, outcome: None,
            total=None if told["mean"] else unknown,
            higher_is_better=told["higher_is_better"],
        )
        for metric, told in side.result(name, shots)["metrics"].items()
    ]
