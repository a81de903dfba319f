"""The curves of runs as figures: plain dictionaries, as plotly.js reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Literal

from ensue.studio.run_curves import WatchedRun

Figure = dict[str, Any]
Axis = Literal["steps", "tokens", "minutes"]
COLOURS = ("#2f7fb8", "#e08a1e", "#1b9e77", "#b0579a")
"""Told apart by people who see few colours, on light and dark alike (after Okabe and Ito)."""

MOST_POINTS = 1200
MEAN_OF = 20
"""The running mean is over about this share of a run's steps, 1 in so many; never over more than `LONGEST_MEAN`."""

LONGEST_MEAN = 50

INK, GRID = "#808994", "rgba(128, 137, 148, 0.18)"
LAYOUT: dict[str, Any] = {
    "margin": {"l": 56, "r": 12, "t": 8, "b": 40},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"color": INK, "size": 12, "family": "system-ui, sans-serif"},
    "hovermode": "closest",
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    "uirevision": "kept",
}
CONFIG = {"displayModeBar": False, "responsive": True}


def loss_figure(runs: Sequence[WatchedRun], axis: Axis, words: Callable[[str], str]) -> Figure:
    """Loss of each step, faint, its running mean, and the readings on held-out text; a point knows (run, step)."""
    traces: list[dict[str, Any]] = []
    for number, run in enumerate(runs):
        colour = COLOURS[number % len(COLOURS)]
        places = _places(run, axis)
        kept = thin(run.curves.loss, MOST_POINTS)
        faint = {"color": colour, "width": 1}
        traces.append(
            _trace(run, places, run.curves.loss, kept, line=faint, opacity=0.3, showlegend=False, name=plain(run.name))
        )
        means = running_mean(run.curves.loss, memory_for(len(run.curves.loss)))
        spread = range(0, len(means), max(1, len(means) // MOST_POINTS))
        traces.append(_trace(run, places, means, spread, line={"color": colour, "width": 2.2}, name=plain(run.name)))
        if run.curves.held_out:
            traces.append(_held_out(run, axis, colour, words))
    return _figure(traces, x=words(f"runs.axis_{axis}"), y=words("runs.nats"), height=380)


def rate_figure(runs: Sequence[WatchedRun], axis: Axis, words: Callable[[str], str]) -> Figure:
    """Learning rate of each step."""
    traces = []
    for number, run in enumerate(runs):
        line = {"color": COLOURS[number % len(COLOURS)], "width": 2}
        kept = thin(run.curves.lr, MOST_POINTS)
        traces.append(
            _trace(run, _places(run, axis), run.curves.lr, kept, line=line, name=plain(run.name), showlegend=False)
        )
    return _figure(traces, x=words(f"runs.axis_{axis}"), y=words("runs.lr"), height=200)


def plain(text: str) -> str:
    """A text that plotly.js draws as it is: it would else read tags in it."""
    return escape(text, quote=False)


def thin(values: Sequence[float], most: int) -> list[int]:
    """Places of at most `most` values that look the same drawn: the lowest and the highest of each stretch."""
    if len(values) <= most:
        return list(range(len(values)))
    kept: set[int] = {0, len(values) - 1}
    stretches = most // 2 - 1
    for number in range(stretches):
        part = range(number * len(values) // stretches, (number + 1) * len(values) // stretches)
        known = [place for place in part if not math.isnan(values[place])]
        if known:
            kept.add(min(known, key=values.__getitem__))
            kept.add(max(known, key=values.__getitem__))
    return sorted(kept)


def memory_for(steps: int) -> float:
    """The weight of the past in the running mean of a run of so many steps."""
    return 1 - 1 / max(1.0, min(LONGEST_MEAN, steps / MEAN_OF))


def running_mean(values: Sequence[float], memory: float) -> list[float]:
    """The mean of what came before, the newest weighing most; what is no number changes nothing."""
    means: list[float] = []
    total = weight = 0.0
    for value in values:
        if not math.isnan(value):
            total = memory * total + (1 - memory) * value
            weight = memory * weight + (1 - memory)
        means.append(total / weight if weight else math.nan)
    return means


def _held_out(run: WatchedRun, axis: Axis, colour: str, words: Callable[[str], str]) -> dict[str, Any]:
    by_step = dict(zip(run.curves.steps, _places(run, axis), strict=True))
    pairs = [
        (by_step.get(step, 0.0), loss, step)
        for step, loss in zip(run.curves.held_out_steps, run.curves.held_out, strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [place for place, _, _ in pairs],
        "y": [_json(loss) for _, loss, _ in pairs],
        "customdata": [[run.name, step] for _, _, step in pairs],
        "name": f"{plain(run.name)}, {words('runs.held_out')}",
        "line": {"color": colour, "width": 1.4, "dash": "dot"},
        "marker": {"size": 7, "color": colour, "line": {"width": 1, "color": "rgba(255,255,255,0.7)"}},
        "hovertemplate": "%{customdata[1]}: %{y:.4f}<extra>%{fullData.name}</extra>",
    }


def _places(run: WatchedRun, axis: Axis) -> list[float]:
    if axis == "steps":
        return [float(step) for step in run.curves.steps]
    if axis == "tokens":
        return run.curves.tokens
    return [seconds / 60 for seconds in run.curves.seconds]


def _trace(
    run: WatchedRun,
    places: Sequence[float],
    values: Sequence[float],
    kept: Sequence[int],
    *,
    line: dict[str, Any],
    name: str,
    opacity: float = 1.0,
    showlegend: bool = True,
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [_json(places[place]) for place in kept],
        "y": [_json(values[place]) for place in kept],
        "customdata": [[run.name, run.curves.steps[place]] for place in kept],
        "name": name,
        "line": line,
        "opacity": opacity,
        "showlegend": showlegend,
        "hovertemplate": "%{customdata[1]}: %{y:.4g}<extra>%{fullData.name}</extra>",
    }


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _figure(traces: list[dict[str, Any]], *, x: str, y: str, height: int) -> Figure:
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID}
    layout = {
        **LAYOUT,
        "height": height,
        "xaxis": {**axis, "title": {"text": x, "standoff": 8}},
        "yaxis": {**axis, "automargin": True, "title": {"text": y, "standoff": 8}},
    }
    return {"data": traces, "layout": layout, "config": CONFIG}
