"""Results as a table: for a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

HEADER = ("task", "shots", "metric", "value", "standard error", "95% interval", "items", "cut", "fewer shots")
LEFT = 3
"""Columns that hold words."""

NOTES = (
    "Intervals come from resampled items. `cut`: items of which something did not fit the model's window. "
    "`fewer shots`: items before which not all examples fitted, or that had no more to draw."
)


def as_table(told: Mapping[str, Any]) -> Table:
    """The results for a terminal."""
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(HEADER):
        table.add_column(name, justify="left" if place < LEFT and name != "shots" else "right")
    for row in _rows(told):
        table.add_row(*row)
    return table


def as_markdown(told: Mapping[str, Any]) -> str:
    """The results with what they are of."""
    lines = [
        f"# {told['model']['path']}",
        "",
        f"| {' | '.join(HEADER)} |",
        f"|{'|'.join('---' if place < LEFT else '---:' for place in range(len(HEADER)))}|",
        *(f"| {' | '.join(row)} |" for row in _rows(told)),
        "",
        NOTES,
        "",
        *(f"- {name}: {task['about']}" for name, task in told["tasks"].items()),
        "",
        *_reasons(told),
    ]
    return "\n".join(lines).rstrip() + "\n"


def number(value: float | None) -> str:
    """A number with as many digits as a table needs."""
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"


def _rows(told: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for result in told["results"]:
        for name, metric in result["metrics"].items():
            interval = "-" if metric["low"] is None else f"{number(metric['low'])} to {number(metric['high'])}"
            counts = (metric["n"], result["truncated"], result["fewer_shots"])
            yield (
                result["task"],
                str(result["shots"]),
                name,
                number(metric["value"]),
                number(metric["standard_error"]),
                interval,
                *(f"{count:,}" for count in counts),
            )


def _reasons(told: Mapping[str, Any]) -> Iterator[str]:
    for result in told["results"]:
        for name, metric in result["metrics"].items():
            if metric["reason"] is not None:
                yield f"- {result['task']}, {result['shots']} shots, {name}: {metric['reason']}."
