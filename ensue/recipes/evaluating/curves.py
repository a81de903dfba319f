"""The in-context-learning curve: each task's own metric over the number of examples, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ensue.recipes.pictures import BLUE, PALE_BLUE, RED, picture


def draw_curve(results: Sequence[Mapping[str, Any]], target: Path) -> None:
    """One panel a task, as a PNG; the dotted line is what guessing gets.

    A hollow point is one where not all examples fitted before every item.
    """
    names = list(dict.fromkeys(result["task"] for result in results))
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    with picture(target, size=(4.6 * columns, 3.4 * lines), lines=lines, columns=columns) as grid:
        for axes in grid.flat[len(names) :]:
            axes.axis("off")
        for name, axes in zip(names, grid.flat, strict=False):
            _draw_task(axes, [result for result in results if result["task"] == name])


def _draw_task(axes: Any, results: Sequence[Mapping[str, Any]]) -> None:
    metric = next(iter(results[0]["metrics"]))
    in_order = sorted(results, key=lambda result: int(result["shots"]))
    told = [result for result in in_order if result["metrics"][metric]["value"] is not None]
    shots = [result["shots"] for result in told]
    if told:
        axes.plot(shots, [result["metrics"][metric]["value"] for result in told], "-", color=BLUE)
        sure = [result for result in told if result["metrics"][metric]["low"] is not None]
        edges = ([result["metrics"][metric][edge] for result in sure] for edge in ("low", "high"))
        axes.fill_between([result["shots"] for result in sure], *edges, color=PALE_BLUE, alpha=0.4, linewidth=0)
        for result in told:
            fill = "white" if result["fewer_shots"] else BLUE
            axes.plot(result["shots"], result["metrics"][metric]["value"], "o", color=BLUE, markerfacecolor=fill)
        axes.set_xscale("symlog", linthresh=1, linscale=0.4)
        axes.set_xticks(shots, [str(count) for count in shots])
        axes.minorticks_off()
    if results[0]["chance"] is not None and metric.startswith("accuracy"):
        axes.axhline(results[0]["chance"], color=RED, linestyle=":", linewidth=1)
    axes.set(xlabel="examples in the context", ylabel=metric.replace("_", " "), title=results[0]["task"])
    axes.grid(alpha=0.25)
