"""Numbers of evaluations and their items as they are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from nicegui import ui

from ensue.evaluate.records import Record
from ensue.studio.evaluation_book import Line, Number, right_options, scored_parts
from ensue.studio.frame import Visit
from ensue.studio.run_figures import COLOURS, CONFIG, GRID, LAYOUT, Figure, plain
from ensue.studio.token_texts import level_of, percent

MOST_LINES = 40
MOST_CHARACTERS = 4000
MOST_TOKENS = 1500


def intervals_figure(lines: Sequence[Line], names: Sequence[str], chance: str) -> Figure:
    """The numbers between 0 and 1 as dots with their intervals, one colour an evaluation, and what guessing gets."""
    shown = [line for line in lines if any(number is not None and _is_share(number) for number in line.numbers)]
    shown = shown[:MOST_LINES][::-1]
    traces: list[dict[str, Any]] = []
    for place, name in enumerate(names):
        pairs = [(row, line.numbers[place]) for row, line in enumerate(shown)]
        known = [(row, number) for row, number in pairs if number is not None and _is_share(number)]
        shift = (place - (len(names) - 1) / 2) * 0.22
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(name),
                "x": [number.value for _, number in known],
                "y": [row - shift for row, _ in known],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [(number.high or 0) - (number.value or 0) for _, number in known],
                    "arrayminus": [(number.value or 0) - (number.low or 0) for _, number in known],
                    "thickness": 2,
                    "width": 4,
                },
                "marker": {"size": 9, "color": COLOURS[place % len(COLOURS)], "symbol": SYMBOLS[place % len(SYMBOLS)]},
                "hovertemplate": "%{x:.4f}<extra>%{fullData.name}</extra>",
            }
        )
    guesses = [(row, line.chance) for row, line in enumerate(shown) if line.chance is not None]
    if guesses:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": chance,
                "x": [share for _, share in guesses],
                "y": [row for row, _ in guesses],
                "marker": {"symbol": "line-ns-open", "size": 18, "color": "#808994"},
                "hovertemplate": "%{x:.4f}<extra>%{fullData.name}</extra>",
            }
        )
    labels = [plain(f"{line.task}, {line.shots}: {line.metric}") for line in shown]
    axis = {"gridcolor": GRID, "zeroline": False}
    axes = {
        "xaxis": {**axis, "range": [0, 1]},
        "yaxis": {**axis, "tickvals": list(range(len(shown))), "ticktext": labels, "automargin": True},
    }
    return {"data": traces, "layout": {**LAYOUT, **axes, "height": 110 + 34 * len(shown)}, "config": CONFIG}


SYMBOLS = ("circle", "diamond", "square", "triangle-up")


def number_cell(number: Number | None) -> str:
    """A number with its interval, as HTML."""
    if number is None or number.value is None:
        return "–"
    interval = ""
    if number.low is not None and number.high is not None:
        interval = f'<br><span class="faint small">{_digits(number.low)} – {_digits(number.high)}</span>'
    return f"<b>{_digits(number.value)}</b>{interval}"


def draw_item(visit: Visit, record: Record) -> None:
    """An item: what was asked, what was scored token by token, and what it counted."""
    say = visit.say
    values = ", ".join(f"{name} {_value(value)}" for name, value in record["values"].items())
    parts = [
        f'<div class="row small"><b class="grow">{escape(say("evaluate.row", record["row"]))}</b>'
        f'<span class="faint numbers">{escape(values)}</span></div>'
    ]
    if record.get("before"):
        shots = escape(say("evaluate.examples", len(record["examples"])))
        parts.append(f'<details><summary class="faint small">{shots}</summary>{_pre(record["before"])}</details>')
    parts.append(_question(visit, record) if "prompt" in record else _scored(visit, record))
    ui.html("".join(parts), sanitize=False).classes("document")


def _question(visit: Visit, record: Record) -> str:
    answers = " · ".join(map(str, record.get("answers", ())))
    written, right = (escape(visit.say(f"evaluate.{name}")) for name in ("written", "answers"))
    return (
        f'{_pre(record["prompt"])}<div class="faint small">{written}</div>{_pre(str(record.get("written", "")))}'
        f'<div class="small"><span class="faint">{right}</span> {escape(answers)}</div>'
    )


def _scored(visit: Visit, record: Record) -> str:
    say, right = visit.say, right_options(record)
    parts = scored_parts(record)
    contexts = {part.get("context", "") for part in parts}
    shared = contexts.pop() if len(contexts) == 1 else None
    rows = [_pre(shared)] if shared else []
    for place, part in enumerate(parts):
        marks = ""
        if "chosen" in record:
            marks += f' <span class="chip">{escape(say("evaluate.chosen"))}</span>' if place == record["chosen"] else ""
            marks += f' <span class="chip good">{escape(say("evaluate.right"))}</span>' if place in right else ""
        before = "" if shared is not None else escape(part.get("context", "")[-MOST_CHARACTERS:])
        nats = f"{sum(part['nats']):.2f}"
        rows.append(
            f'<div class="sheet-text option">{before}{coloured(part["tokens"], part["nats"])}{marks} '
            f'<span class="faint small numbers">{escape(say("evaluate.nats", nats))}</span></div>'
        )
    return "".join(rows)


def coloured(tokens: Sequence[str], nats: Sequence[float]) -> str:
    """Scored tokens as HTML, coloured as on the Write page."""
    return "".join(
        f'<span class="token level-{level_of(value)}" title="{percent(_share(value))}">{escape(token)}</span>'
        for token, value in list(zip(tokens, nats, strict=False))[:MOST_TOKENS]
    )


def _share(nats: float) -> float:
    return math.exp(min(0.0, nats))


def _pre(text: str) -> str:
    return f"<pre>{escape(text[-MOST_CHARACTERS:])}</pre>"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:80]


def _digits(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.2f}"


def _is_share(number: Number) -> bool:
    return number.value is not None and 0 <= number.value <= 1 and number.low is not None
