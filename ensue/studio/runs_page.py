"""The page of all runs: where each stands, its curves as it trains, what it writes, and what a step read."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from fastapi import Request
from nicegui import run as background
from nicegui import ui

from ensue.studio.frame import Visit, add_page, heading
from ensue.studio.problems import Problem, problem_of
from ensue.studio.reading_panel import draw_documents
from ensue.studio.run_book import RunBook
from ensue.studio.run_curves import WatchedRun, duration
from ensue.studio.run_figures import COLOURS, Axis, loss_figure, rate_figure
from ensue.studio.run_records import RunRecords
from ensue.studio.samples import read_sample, sample_steps
from ensue.studio.step_documents import StepReading, step_reading

LOOK_EVERY = 1.5
"""Seconds between two looks at the runs."""

MOST_CHOSEN = len(COLOURS)
STATE_CHIPS = {"running": "chip", "finished": "chip good", "stopped": "chip bad", "gone": "chip bad"}


def add_runs_page(book: RunBook, records: RunRecords | None) -> None:
    """The page at /runs. What a step read is shown with `records` only."""

    async def build(visit: Visit, request: Request) -> None:
        run = request.query_params.get("run")
        await _RunsPage(visit, book, records, chosen=[run] if run else []).build()

    add_page("runs", build, str(book.folder))


class _RunsPage:
    def __init__(self, visit: Visit, book: RunBook, records: RunRecords | None, *, chosen: Sequence[str]) -> None:
        self.visit, self.say, self.book, self.records = visit, visit.say, book, records
        self.chosen: list[str] = list(chosen)
        self.axis: Axis = "steps"
        self.runs: list[WatchedRun] = []
        self.drawn: object = None
        self.figures: tuple[Any, Any] | None = None
        self.sample_names: list[str] = []

    async def build(self) -> None:
        say = self.say
        self.table = ui.element("div").classes("card scroll")
        self.curves = ui.element("section").classes("card")
        with self.curves:
            with ui.element("div").classes("row"):
                heading(say("runs.curves")).classes("grow").style("margin: 0")
                axes = {axis: say(f"runs.axis_{axis}") for axis in ("steps", "tokens", "minutes")}
                ui.toggle(axes, value=self.axis, on_change=self._set_axis).props("dense flat no-caps")
            self.plots = ui.element("div")
            with ui.element("div").classes("row") as asking:
                ui.label(say("runs.click")).classes("faint small grow")
                self.step = ui.number(say("runs.step"), min=1, precision=0).props("outlined dense").style("width: 8rem")
                ui.button(say("runs.show_documents"), on_click=self._ask_documents).props("outline no-caps")
        asking.set_visibility(self.records is not None)
        self.documents = ui.element("section").classes("card")
        self.documents.set_visibility(False)
        self.samples = ui.element("section").classes("card")
        await self.look()
        ui.timer(LOOK_EVERY, self.look)

    async def look(self) -> None:
        """Read on, and draw what has changed."""
        runs = await background.io_bound(self.book.refresh)
        if runs is None:
            return
        self.runs = runs
        if not self.chosen and runs:
            self.chosen = [runs[0].name]
        chosen = self._chosen_runs()
        now = (
            [(run.name, run.state, len(run.curves.steps), len(run.curves.held_out)) for run in runs],
            tuple(self.chosen),
            self.axis,
        )
        if now != self.drawn:
            self.drawn = now
            self._draw_table()
            self._draw_curves(chosen)
        self._draw_samples(chosen)

    def _chosen_runs(self) -> list[WatchedRun]:
        by_name = {run.name: run for run in self.runs}
        return [by_name[name] for name in self.chosen if name in by_name]

    def _draw_table(self) -> None:
        say = self.say
        self.table.clear()
        with self.table:
            if not self.runs:
                self.visit.problem(Problem("runs.none", (str(self.book.folder),)))
                return
            with ui.element("table").classes("plain"):
                head = ("", "run", "state", "step", "loss", "held_out", "speed", "left")
                cells = "".join(
                    f'<th class="{"n" if place > 2 else ""}">{escape(say(f"runs.{name}")) if name else ""}</th>'
                    for place, name in enumerate(head)
                )
                ui.html(f"<tr>{cells}</tr>", sanitize=False, tag="thead")
                with ui.element("tbody"):
                    for run in self.runs:
                        self._row(run)

    def _row(self, run: WatchedRun) -> None:
        place = self.chosen.index(run.name) if run.name in self.chosen else None
        row = ui.html(_row_html(run, place, self.visit), sanitize=False, tag="tr").classes("link")
        row.props(f"tabindex=0 role=checkbox aria-checked={'true' if place is not None else 'false'}")
        row.on("click", lambda: self._toggle(run.name))
        row.on("keydown.enter", lambda: self._toggle(run.name))
        row.on("keydown.space.prevent", lambda: self._toggle(run.name))

    async def _toggle(self, name: str) -> None:
        if name in self.chosen:
            self.chosen.remove(name)
        else:
            self.chosen = [*self.chosen[-MOST_CHOSEN + 1 :], name]
        await self.look()

    def _draw_curves(self, chosen: Sequence[WatchedRun]) -> None:
        shown = [run for run in chosen if run.curves.steps]
        self.curves.set_visibility(bool(shown))
        if not shown:
            return
        figures = (loss_figure(shown, self.axis, self.say), rate_figure(shown, self.axis, self.say))
        if self.figures is None:
            with self.plots:
                self.figures = tuple(ui.plotly(figure).style("width: 100%") for figure in figures)  # type: ignore[assignment]
            assert self.figures is not None
            for plot in self.figures:
                plot.on("plotly_click", self._clicked, js_handler="(event) => emit(event.points[0].customdata)")
            return
        for plot, figure in zip(self.figures, figures, strict=True):
            plot.update_figure(figure)

    def _draw_samples(self, chosen: Sequence[WatchedRun]) -> None:
        run = chosen[-1] if chosen else None
        names = sample_steps(run.path) if run is not None else []
        known = [run.name if run is not None else "", *names]
        if known == self.sample_names:
            return
        self.sample_names = known
        self.samples.clear()
        self.samples.set_visibility(bool(names))
        if run is None or not names:
            return
        with self.samples:
            heading(self.say("runs.samples", run.name)).style("margin-top: 0")
            texts = ui.element("div")

            def show(place: float) -> None:
                texts.clear()
                name = names[min(int(place), len(names) - 1)]
                label.set_text(self.say("runs.sample_step", f"{int(name):,}" if name.isdecimal() else name))
                with texts:
                    try:
                        for text in read_sample(run.path, name):
                            ui.html(escape(text), sanitize=False, tag="pre").classes("text")
                            ui.separator()
                    except OSError as error:
                        self.visit.problem(problem_of(error))

            label = ui.label().classes("small numbers")
            if len(names) > 1:
                slider = ui.slider(min=0, max=len(names) - 1, value=len(names) - 1)
                slider.props(f'dense markers snap aria-label="{self.say("runs.step")}"')
                slider.on_value_change(lambda event: show(event.value or 0))
                slider.move(self.samples, 1)
            label.move(self.samples, 1)
            show(len(names) - 1)

    async def _set_axis(self, event: Any) -> None:
        self.axis = event.value
        await self.look()

    async def _clicked(self, event: Any) -> None:
        name, step = event.args
        await self._show_documents(str(name), int(step))

    async def _ask_documents(self) -> None:
        chosen = self._chosen_runs()
        if chosen and self.step.value:
            await self._show_documents(chosen[-1].name, int(self.step.value))

    async def _show_documents(self, name: str, step: int) -> None:
        run, records = next((run for run in self.runs if run.name == name), None), self.records
        if run is None or records is None:
            return
        self.step.value = step
        self.documents.set_visibility(True)
        self.documents.clear()
        with self.documents:
            ui.label(self.say("loading")).classes("faint")
        reading: StepReading | Problem | None
        try:
            reading = await background.io_bound(step_reading, run.path, step, records=records)
        except (ValueError, OSError, KeyError, RuntimeError) as error:
            reading = problem_of(error)
        self.documents.clear()
        with self.documents:
            if isinstance(reading, Problem):
                self.visit.problem(reading)
            elif reading is not None:
                draw_documents(self.visit, name, reading, rows=run.tunes)


def _row_html(run: WatchedRun, place: int | None, visit: Visit) -> str:
    say, curves = visit.say, run.curves
    dot = f'<span style="color: {COLOURS[place % len(COLOURS)]}">■</span>' if place is not None else "□"
    planned = f" / {run.planned:,}" if run.planned is not None and run.state != "finished" else ""
    held_out = f"{curves.held_out[-1]:.3f}" if curves.held_out else "–"
    others = ", ".join(
        f"{say('runs.bits', f'{value:.3f}')}" if name == "bits_per_byte" else f"{escape(name)} {value:.3f}"
        for name, value in list(curves.other.items())[:3]
    )
    left = run.seconds_left
    cells = (
        (dot, ""),
        (escape(run.name), ""),
        (f'<span class="{STATE_CHIPS[run.state]}">{escape(say(f"runs.{run.state}"))}</span>', ""),
        (f"{run.step:,}{planned}", "n"),
        (f"{curves.loss[-1]:.3f}" if curves.loss else "–", "n"),
        (held_out + (f'<br><span class="faint small">{others}</span>' if others else ""), "n"),
        (f"{curves.speed:,.0f}" if curves.speed is not None else "–", "n"),
        (duration(left) if left is not None else "–", "n"),
    )
    return "".join(f'<td class="{kind}">{text}</td>' for text, kind in cells)
