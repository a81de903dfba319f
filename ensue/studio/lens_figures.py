"""The inside of a model as figures for plotly.js."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ensue.studio.lenses import Attention, Inside
from ensue.studio.run_figures import CONFIG, LAYOUT, Figure, plain

CELL = 64
"""Width of a place in the lens, in pixels."""

BARE = {"showgrid": False, "zeroline": False, "automargin": True}
BLUE = [[0, "rgba(47, 127, 184, 0.02)"], [0.1, "rgba(47, 127, 184, 0.25)"], [1, "rgba(47, 127, 184, 1)"]]
ORANGE = [[0, "rgba(224, 138, 30, 0.03)"], [1, "rgba(224, 138, 30, 0.6)"]]


def lens_figure(inside: Inside, words: Callable[..., str]) -> Figure:
    """Layers from bottom to top, places from left to right: the likeliest token, coloured by its probability."""
    names = [words("inside.embedding"), *(words("inside.layer", layer) for layer in range(len(inside.lens) - 1))]
    places = list(range(len(inside.labels)))
    hover = [
        [
            "<br>".join(
                f"{plain(label)} {100 * share:.1f}%"
                for label, share in zip(cell.labels, cell.probabilities, strict=True)
            )
            for cell in row
        ]
        for row in inside.lens
    ]
    heat = {
        "type": "heatmap",
        "x": places,
        "y": list(range(len(names))),
        "z": [[cell.probabilities[0] for cell in row] for row in inside.lens],
        "text": [[plain(_short(cell.labels[0])) for cell in row] for row in inside.lens],
        "customdata": hover,
        "texttemplate": "%{text}",
        "hovertemplate": "%{customdata}<extra></extra>",
        "textfont": {"size": 12},
        "colorscale": ORANGE,
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
    layout = {
        **LAYOUT,
        "height": 90 + 30 * len(names),
        "width": 110 + CELL * len(places),
        "xaxis": {**_labels(inside.labels), "side": "bottom"},
        "yaxis": {"tickvals": list(range(len(names))), "ticktext": names, **BARE},
    }
    return {"data": [heat], "layout": layout, "config": {**CONFIG, "responsive": False}}


def heads_figure(inside: Inside, words: Callable[..., str], *, layer: int, head: int) -> Figure:
    """Every head, coloured by how far it looks back; the chosen one is framed. A point is (head, layer)."""
    layers, heads = len(inside.distance), len(inside.distance[0])
    heat = {
        "type": "heatmap",
        "x": list(range(heads)),
        "y": list(range(layers)),
        "z": [list(row) for row in inside.distance],
        "colorscale": BLUE,
        "hovertemplate": words("inside.head_hover", "%{y}", "%{x}", "%{z:.1f}") + "<extra></extra>",
        "xgap": 2,
        "ygap": 2,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "title": {"text": words("inside.distance"), "side": "right"}},
    }
    frame = {"type": "rect", "x0": head - 0.5, "x1": head + 0.5, "y0": layer - 0.5, "y1": layer + 0.5}
    layout = {
        **LAYOUT,
        "height": 110 + 26 * max(4, layers),
        "shapes": [{**frame, "line": {"color": "#e08a1e", "width": 3}}],
        "xaxis": {
            "title": {"text": words("inside.head")},
            "dtick": 1,
            "tick0": 0,
            "showgrid": False,
            "zeroline": False,
        },
        "yaxis": {"title": {"text": words("inside.layer_axis")}, "dtick": 1, "tick0": 0, **BARE},
    }
    return {"data": [heat], "layout": layout, "config": CONFIG}


def attention_figure(attention: Attention, labels: Sequence[str], words: Callable[..., str]) -> Figure:
    """Each row is a place, and its cells where it looks; what lies before the first place is a column of its own."""
    earlier = any(share > 0 for share in attention.before)
    columns = [words("inside.before"), *labels] if earlier else list(labels)
    rows = [
        [before, *row] if earlier else list(row)
        for before, row in zip(attention.before, attention.weights, strict=True)
    ]
    shown = [[weight if weight > 0 else None for weight in row] for row in rows]
    heat = {
        "type": "heatmap",
        "x": list(range(len(columns))),
        "y": list(range(len(labels))),
        "z": shown,
        "customdata": [[f"{plain(label)} → {plain(column)}" for column in columns] for label in labels],
        "hovertemplate": "%{customdata}: %{z:.1%}<extra></extra>",
        "hoverongaps": False,
        "colorscale": BLUE,
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
    }
    size = max(320, min(900, 150 + 15 * len(labels)))
    layout = {
        **LAYOUT,
        "height": size,
        "xaxis": {**_labels(columns), "tickangle": -60, "constrain": "domain"},
        "yaxis": {**_labels(labels), "autorange": "reversed"},
    }
    return {"data": [heat], "layout": layout, "config": CONFIG}


def _labels(labels: Sequence[str]) -> dict[str, Any]:
    """An axis of places; equal tokens are different places."""
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": [plain(_short(label)) for label in labels],
        **BARE,
        "tickfont": {"size": 11},
    }


def _short(label: str) -> str:
    return label if len(label) <= 9 else label[:8] + "…"
