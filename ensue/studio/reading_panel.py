"""The documents or rows that a step read, as they are drawn."""

from __future__ import annotations

from html import escape

from nicegui import ui

from ensue.studio.frame import Visit, heading
from ensue.studio.step_documents import Read, StepReading


def draw_documents(visit: Visit, run: str, reading: StepReading, *, rows: bool) -> None:
    """What was read, each with its source and how it begins."""
    say = visit.say
    heading(say("runs.documents_of", run, f"{reading.step:,}")).style("margin-top: 0")
    counts = (f"{reading.documents:,}", f"{reading.tokens:,}")
    key = "runs.rows_read" if rows else "runs.documents_read" if reading.trained else "runs.documents_to_read"
    ui.label(say(key, *counts)).classes("faint")
    with ui.element("div").classes("documents").props("tabindex=0"):
        for read in reading.shown:
            _draw(visit, read)
    more = reading.documents - len(reading.shown)
    if more:
        ui.label(say("runs.more_documents", f"{more:,}")).classes("faint")


def _draw(visit: Visit, read: Read) -> None:
    tokens = visit.say("runs.tokens_of_it", f"{read.tokens:,}") if read.tokens else ""
    source, id = escape(read.source), escape(read.id[:12])
    ui.html(
        f'<div class="row small"><b class="source grow">{source}</b>'
        f'<span class="faint numbers">{escape(tokens)}</span><code class="faint">{id}</code></div>'
        f"<pre>{escape(read.text)}</pre>",
        sanitize=False,
    ).classes("document")
