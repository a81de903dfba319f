"""What the finished trials of a study say, as numbers and as a table to read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ensue.recipes.studies.conditions import Condition, comparisons, conditions
from ensue.recipes.studies.intervals import Interval, over_seeds, paired_difference
from ensue.recipes.studies.labelled_sets import SetFiles
from ensue.recipes.studies.trials import Trial


@dataclass(frozen=True)
class Cell:
    """One condition on one set: the test accuracy of each seed, in the order of the seeds, and their mean."""

    condition: Condition
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    over_seeds: Interval


@dataclass(frozen=True)
class Compared:
    """The difference of two conditions over the seeds that both have and the same test items."""

    first: Condition
    second: Condition
    difference: Interval
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class SetFindings:
    """One labelled set: its rows, how often its commonest answer is right in the test, the learning rate that the rows
    to choose by chose (and their mean accuracy with each), and what came out."""

    parts: SetFiles
    rows: Mapping[str, int]
    commonest: float
    rate: float
    rates: Mapping[float, float]
    cells: tuple[Cell, ...]
    compared: tuple[Compared, ...]


def findings_of(
    parts: SetFiles, layers: int, trials: Iterable[Trial], *, rate: float, rates: Mapping[float, float]
) -> SetFindings:
    """What the trials of one set with the chosen rate say."""
    found = {(trial.condition, trial.seed): trial for trial in trials if trial.rate == rate}
    seeds_of = {
        each.name: tuple(sorted(seed for name, seed in found if name == each.name)) for each in conditions(layers)
    }
    cells = []
    for each in conditions(layers):
        accuracies = tuple(found[each.name, seed].accuracy for seed in seeds_of[each.name])
        if accuracies:
            cells.append(Cell(each, seeds_of[each.name], accuracies, over_seeds(accuracies)))
    compared = []
    for first, second in comparisons(layers):
        both = [seed for seed in seeds_of[first.name] if seed in seeds_of[second.name]]
        if both:
            one, other = (np.stack([found[each.name, seed].items for seed in both]) for each in (first, second))
            by_seed = tuple((one - other).mean(1).tolist())
            compared.append(Compared(first, second, paired_difference(one, other), by_seed))
    files = {"train": parts.train, "valid": parts.valid, "test": parts.test}
    return SetFindings(
        parts=parts,
        rows={name: _count(path) for name, path in files.items()},
        commonest=_commonest(parts.test),
        rate=rate,
        rates=rates,
        cells=tuple(cells),
        compared=tuple(compared),
    )


def as_json(found: Sequence[SetFindings], settings: Mapping[str, Any], pretrained: Mapping[str, Any]) -> dict[str, Any]:
    """All of it as results.json has it; an end of an interval that is not finite becomes null."""
    sets = {each.parts.known.name: _set(each) for each in found}
    return {"settings": dict(settings), "pretrained": dict(pretrained), "sets": sets}


def as_table(found: Sequence[SetFindings]) -> str:
    """Markdown: test accuracy of each condition in percent, and below it the differences with their intervals.

    Where a condition has fewer seeds than others it is said how many. Bold are differences over two seeds or more whose
    interval excludes zero.
    """
    most = max((len(cell.seeds) for each in found for cell in each.cells), default=0)
    titles = [each.parts.known.title for each in found]
    lines = [_row(["test accuracy, %", *titles]), _row(["---"] * (1 + len(titles)))]
    named = {cell.condition.name: cell.condition for each in found for cell in each.cells}
    for name, condition in named.items():
        cells = [{cell.condition.name: cell for cell in each.cells}.get(name) for each in found]
        lines.append(_row([condition.words, *(_mean(cell, most) if cell else "" for cell in cells)]))
    lines.append(_row(["always the commonest answer", *(f"{100 * each.commonest:.1f}" for each in found)]))
    lines += ["", _row(["difference, points", *titles]), _row(["---"] * (1 + len(titles)))]
    pairs = {(pair.first.name, pair.second.name): pair for each in found for pair in each.compared}
    for key, pair in pairs.items():
        there = [{(each.first.name, each.second.name): each for each in one.compared}.get(key) for one in found]
        told = [_difference(each, most) if each else "" for each in there]
        lines.append(_row([f"{pair.first.words} - {pair.second.words}", *told]))
    return "\n".join(lines) + "\n"


def _set(found: SetFindings) -> dict[str, Any]:
    return {
        "title": found.parts.known.title,
        "rows": dict(found.rows),
        "commonest answer": found.commonest,
        "rate": found.rate,
        "validation accuracy by rate": {f"{rate:g}": value for rate, value in found.rates.items()},
        "conditions": {
            cell.condition.name: {
                "words": cell.condition.words,
                "seeds": list(cell.seeds),
                "accuracy": list(cell.accuracies),
                **_interval(cell.over_seeds),
            }
            for cell in found.cells
        },
        "comparisons": [
            {
                "first": pair.first.name,
                "second": pair.second.name,
                **_interval(pair.difference),
                "by seed": list(pair.by_seed),
            }
            for pair in found.compared
        ],
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    ends = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {name: value if math.isfinite(value) else None for name, value in ends.items()}


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mean(cell: Cell, most: int) -> str:
    half = cell.over_seeds.high - cell.over_seeds.mean
    told = f"{100 * cell.over_seeds.mean:.1f}"
    return (f"{told} ± {100 * half:.1f}" if math.isfinite(half) else told) + _fewer(len(cell.seeds), most)


def _difference(compared: Compared, most: int) -> str:
    found, seeds = compared.difference, len(compared.by_seed)
    told = f"{100 * found.mean:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    bold = seeds > 1 and (found.low > 0 or found.high < 0)
    return (f"**{told}**" if bold else told) + _fewer(seeds, most)


def _fewer(seeds: int, most: int) -> str:
    return f" [{seeds} seed{'s' if seeds > 1 else ''}]" if seeds < most else ""


def _count(path: Path) -> int:
    return sum(1 for _ in path.open(encoding="utf-8"))


def _commonest(path: Path) -> float:
    labels = [json.loads(line)["label"] for line in path.open(encoding="utf-8")]
    return max(labels.count(label) for label in set(labels)) / len(labels)
