"""Which of an evaluation's items stand in the training text, and what the scores are without them.

GPT-3 (2020), section 4 and appendix C: an item is dirty if any run of N of its words is in the training text, and the
clean items are compared with all. N is 13, or the length of the shortest twentieth of a set's items, 8 at least.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from ensue.core.files import write_file_aside
from ensue.evaluate.paired import Evaluation, metrics_of
from ensue.evaluate.records import Record
from ensue.evaluate.statistics import estimate
from ensue.evaluate.task import Task
from ensue.recipes.display import Display
from ensue.recipes.evaluating.tables import number
from ensue.recipes.evaluating.training_text import TrainingText, training_text
from ensue.text.contamination.items import Item
from ensue.text.contamination.overlap import DirtyItem, EvaluationSet, FileOverlap, overlap_of

REPORT = "contamination.json"
PARTS = ("all", "clean", "dirty")
HEADER = ("task", "shots", "metric", "items", "dirty", "all", "clean", "of dirty items")


def find_contamination(
    evaluation: Evaluation, against: Path, tasks: Sequence[Task], *, seed: int, display: Display
) -> dict[str, Any]:
    """Look for a finished evaluation's items in the training text `against`; contamination.json goes into its folder.

    Of each task: N, how many items are dirty, each metric of all, clean and dirty items, and of every dirty item the
    words, the document, and, where `against` is a run, the steps that read them. Raises FileNotFoundError or ValueError
    for training text that cannot be read.
    """
    text = training_text(against)
    names = list(dict.fromkeys(result["task"] for result in evaluation.told["results"]))
    records = {name: evaluation.records(name, evaluation.shots_of(name)[0]) for name in names}
    sets = [EvaluationSet(name, partial(_items, name, records[name])) for name in names]
    with display.bar(f"looking for shared words in {against}", text.count, "documents") as bar:
        found = overlap_of(_counted(text, bar.advance), sets)
    told = {
        "against": str(against),
        "results": [
            _result(evaluation, overlap, shots, tasks, text, seed)
            for overlap in found
            for shots in evaluation.shots_of(overlap.file)
        ],
    }
    write_file_aside(evaluation.folder / REPORT, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return told


def as_table(told: Mapping[str, Any]) -> Table:
    """For a terminal: each metric of all items, of the clean and of the dirty ones."""
    table = Table(box=None, pad_edge=False)
    for name in HEADER:
        table.add_column(name, justify="left" if name in ("task", "metric") else "right")
    for result in told["results"]:
        for name, parts in result["metrics"].items():
            values = [_with_interval(parts[part]) for part in PARTS]
            counts = (f"{result['items']:,}", f"{len(result['dirty']):,}")
            table.add_row(result["task"], str(result["shots"]), name, *counts, *values)
    return table


def _items(name: str, records: Sequence[Record]) -> Iterator[Item]:
    """The items as texts: each option after its context, a passage, or a question with its answers."""
    for record in records:
        if "options" in record:
            texts = [option["context"] + option["continuation"] for option in record["options"]]
        elif "text" in record:
            texts = [record["text"]]
        else:
            texts = [record["prompt"], *record["answers"]]
        yield Item(name, record["row"], tuple(texts))


def _counted(text: TrainingText, on_documents: Any) -> Iterator[Any]:
    for document in text.documents():
        on_documents(1)
        yield document


def _result(
    evaluation: Evaluation, overlap: FileOverlap, shots: int, tasks: Sequence[Task], text: TrainingText, seed: int
) -> dict[str, Any]:
    records = evaluation.records(overlap.file, shots)
    rows = {item.row for item in overlap.dirty}
    sides = {
        "all": records,
        "clean": [record for record in records if record["row"] not in rows],
        "dirty": [record for record in records if record["row"] in rows],
    }
    return {
        "task": overlap.file,
        "shots": shots,
        "items": len(records),
        "words": overlap.size.words,
        "metrics": {
            metric.name: {
                part: asdict(estimate(metric, [record["values"][metric.name] for record in side], seed=seed))
                for part, side in sides.items()
            }
            for metric in metrics_of(evaluation, overlap.file, shots, tasks)
        },
        "dirty": [_dirty(item, text) for item in overlap.dirty],
    }


def _dirty(item: DirtyItem, text: TrainingText) -> dict[str, Any]:
    steps = text.steps(item.document, item.place)
    return asdict(item) if steps is None else {**asdict(item), "steps": steps}


def _with_interval(told: Mapping[str, Any]) -> str:
    if told["value"] is None:
        return "-"
    interval = "" if told["low"] is None else f" ({number(told['low'])} to {number(told['high'])})"
    return number(told["value"]) + interval
