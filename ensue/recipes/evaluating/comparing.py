"""Two models on the same items: measured where they are not yet, and compared in pairs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from ensue.core.files import write_file_aside
from ensue.evaluate.paired import Evaluation, common, compare_task
from ensue.evaluate.results import SETTINGS, claim_folder, read_json
from ensue.evaluate.task import Task
from ensue.recipes.evaluating.tables import number

FOLDER = Path("comparisons")
COMPARISON, FLIPS = "comparison.json", "flips"
HEADER = ("task", "shots", "metric", "first", "second", "difference", "95% interval", "wins", "losses", "p", "items")


def compare_evaluations(
    first: Evaluation, second: Evaluation, out: Path | None, *, names: Sequence[str], tasks: Sequence[Task], seed: int
) -> tuple[Path, dict[str, Any]]:
    """Compare two finished evaluations; comparison.json and the items that flipped go into `out`."""
    folder = out if out is not None else FOLDER / f"{first.folder.name}-and-{second.folder.name}"
    pairs = common(first, second, names)
    compared = [compare_task(first, second, name, shots, tasks=tasks, seed=seed) for name, shots in pairs]
    settings = {name: read_json(side.folder / SETTINGS) for name, side in (("first", first), ("second", second))}
    folder.mkdir(parents=True, exist_ok=True)
    claim_folder(folder, settings)
    told = {
        "first": {"folder": str(first.folder), **first.told["model"]},
        "second": {"folder": str(second.folder), **second.told["model"]},
        "seed": seed,
        "results": [result for result, _ in compared],
    }
    shutil.rmtree(folder / FLIPS, ignore_errors=True)
    for result, flipped in compared:
        if flipped:
            text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in flipped)
            write_file_aside(folder / FLIPS / f"{result['task']}-{result['shots']}.jsonl", text)
    write_file_aside(folder / COMPARISON, json.dumps(told, indent=1, allow_nan=False) + "\n")
    return folder, told


def as_table(told: Mapping[str, Any]) -> Table:
    """The differences for a terminal, second minus first."""
    table = Table(box=None, pad_edge=False)
    for name in HEADER:
        table.add_column(name, justify="left" if name in ("task", "metric") else "right")
    for result in told["results"]:
        for name, metric in result["metrics"].items():
            interval = "-" if metric["low"] is None else f"{metric['low']:+.4f} to {metric['high']:+.4f}"
            table.add_row(
                result["task"],
                str(result["shots"]),
                name,
                number(metric["first"]),
                number(metric["second"]),
                "-" if metric["difference"] is None else f"{metric['difference']:+.4f}",
                interval,
                *("-" if metric[count] is None else f"{metric[count]:,}" for count in ("wins", "losses")),
                "-" if metric["p"] is None else f"{metric['p']:.3g}",
                f"{metric['n']:,}",
            )
    return table


def in_words(told: Mapping[str, Any]) -> str:
    """What the intervals say of each task's own metric, and how many of them chance alone would let say so."""
    lines = [f"first   {told['first']['path']}", f"second  {told['second']['path']}"]
    results = told["results"]
    lines += [f"{result['task']}, {result['shots']} shots: {_verdict(result)}" for result in results]
    if len(results) > 1:
        lines.append(
            f"of {len(results)} such intervals, {len(results) / 20:.2g} leave out zero by chance where the models "
            "are equally good"
        )
    return "\n".join(lines)


def _verdict(result: Mapping[str, Any]) -> str:
    name, metric = next(iter(result["metrics"].items()))
    if metric["low"] is None:
        return f"no interval of {name} ({metric['reason']})"
    if metric["low"] <= 0 <= metric["high"]:
        return f"no difference in {name} that these items can show"
    better = "second" if (metric["difference"] > 0) == metric["higher_is_better"] else "first"
    return f"the {better} is better in {name}"
