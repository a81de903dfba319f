"""Documents as they are drawn, and tables of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nicegui import ui

from ensue.studio.document_store import EXCERPT, Excerpt, Sizes, edge_labels, excerpt_parts, shown_size
from ensue.studio.dropped import Dropped
from ensue.studio.frame import Visit
from ensue.studio.run_figures import COLOURS, CONFIG, GRID, LAYOUT, Figure


def draw_document(visit: Visit, excerpt: Excerpt, query: str, count: int) -> None:
    """A document of `count`: where it is from, how it begins, and the rest folded away; hits of a query are marked."""
    say = visit.say
    beginning, rest = excerpt.text[:EXCERPT], excerpt.text[EXCERPT:]
    facts = ", ".join(f"{name}: {value}" for name, value in list(excerpt.facts.items())[:6])
    more = escape(say("data.cut", f"{excerpt.rest:,}")) if excerpt.rest > 0 else ""
    whole = f"<details><summary class='faint small'>{escape(say('data.more'))}</summary>" if rest or more else ""
    body = f"{whole}<pre>{_marked(rest, query)}</pre><p class='faint small'>{more}</p></details>" if whole else ""
    ui.html(
        f'<div class="row small"><b class="source grow">{_marked(excerpt.source, query)}</b>'
        f'<span class="faint numbers">{shown_size(excerpt.bytes)} · {excerpt.place + 1:,} / {count:,}</span>'
        f'<code class="faint">{escape(excerpt.id[:12])}</code></div>'
        f'<div class="faint small source">{escape(facts)}</div><pre>{_marked(beginning, query)}</pre>{body}',
        sanitize=False,
    ).classes("document")


def draw_dropped(visit: Visit, document: Dropped) -> None:
    """A document that was dropped, and what was measured."""
    copied = visit.say("data.copy_of", document.duplicate_of[:12]) if document.duplicate_of else ""
    told = " · ".join(filter(None, (document.facts, copied)))
    size = shown_size(document.bytes) if document.bytes else ""
    ui.html(
        f'<div class="row small"><b class="source grow">{escape(document.source)}</b>'
        f'<span class="faint numbers">{size}</span><code class="faint">{escape(document.id[:12])}</code></div>'
        f'<div class="faint small">{escape(told)}</div><pre>{escape(document.sample)}</pre>',
        sanitize=False,
    ).classes("document")


def _marked(text: str, query: str) -> str:
    return "".join(
        f"<mark>{escape(piece)}</mark>" if hit else escape(piece) for piece, hit in excerpt_parts(text, query)
    )


def draw_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose first column holds words and the others numbers; cells are HTML."""
    heads = "".join(f'<th class="{"n" if place else ""}">{escape(name)}</th>' for place, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{"n" if place else "source"}">{cell}</td>' for place, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    ui.html(f'<table class="plain"><tr>{heads}</tr>{body}</table>', sanitize=False).classes("scroll")


def sizes_figure(sizes: Sizes, name: str) -> Figure:
    """How many documents there are of each size."""
    bar = {"type": "bar", "x": list(edge_labels()), "y": list(sizes.by_size), "marker": {"color": COLOURS[0]}}
    axis = {"gridcolor": GRID, "zeroline": False}
    layout = {
        **LAYOUT,
        "height": 240,
        "xaxis": {**axis, "type": "category"},
        "yaxis": {**axis, "title": {"text": name}},
    }
    return {"data": [bar], "layout": layout, "config": CONFIG}
