"""Multiple-choice items with five examples before each, as the texts that every contender is asked."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SHOTS = 5
SEED = 1234
"""The harness's own for drawing examples."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """What is asked: a context, what may follow it, and which of these is right."""

    context: str
    continuations: tuple[str, ...]
    label: int

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [(self.context, continuation) for continuation in self.continuations]


@dataclass(frozen=True)
class Case:
    """A set of items; its examples are the same for all items, or drawn anew for each as the harness does."""

    asked: str
    examples: str
    shots: Literal["same", "drawn"]
    prompt: Callable[[Row], str]


def read_items(case: Case, tasks: Path, count: int) -> list[Item]:
    """The first `count` items of a file, with examples from the other one, or from behind them in the same."""
    asked, pool = _rows(tasks / case.asked), _rows(tasks / case.examples)
    if case.asked == case.examples:
        pool = pool[count:]
    source = random.Random(SEED)
    drawn = [source.sample(pool, SHOTS) for _ in asked[:count]]
    return [
        _item(case, row, examples if case.shots == "drawn" else drawn[0])
        for row, examples in zip(asked[:count], drawn, strict=True)
    ]


def _item(case: Case, row: Row, examples: Sequence[Row]) -> Item:
    shown = (f"{case.prompt(example)} {example['choices'][example['label']]}\n\n" for example in examples)
    context = "".join(shown) + case.prompt(row)
    return Item(context, tuple(f" {choice}" for choice in row["choices"]), row["label"])


def _rows(path: Path) -> list[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _question(row: Row) -> str:
    return f"Question: {row['question']}\nAnswer:"


def _beginning(row: Row) -> str:
    return str(row["context"])


ARC = ("arc_easy_test.jsonl.gz", "arc_easy_train.jsonl.gz")
HELLASWAG = ("hellaswag_val_a.jsonl.gz", "hellaswag_val_a.jsonl.gz")

CASES = {
    "arc_easy, examples drawn for each item": Case(*ARC, "drawn", _question),
    "arc_easy, the same examples for all": Case(*ARC, "same", _question),
    "hellaswag, examples drawn for each item": Case(*HELLASWAG, "drawn", _beginning),
    "hellaswag, the same examples for all": Case(*HELLASWAG, "same", _beginning),
}
