"""The page of evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from fastapi import Request
from nicegui import run, ui

from ensue.evaluate.paired import Evaluation
from ensue.studio.evaluation_book import (
    PAGE,
    EvaluationChoice,
    Items,
    Line,
    Which,
    find_evaluations,
    items_of,
    lines_of,
    open_all,
)
from ensue.studio.evaluation_drawing import draw_item, intervals_figure, number_cell
from ensue.studio.frame import Visit, add_page, heading
from ensue.studio.problems import Problem, problem_of

READING_ERRORS = (ValueError, OSError, KeyError, TypeError)
MOST_CHOSEN = 4


def add_evaluate_page(places: Sequence[Path]) -> None:
    """The page at /evaluate."""

    async def build(visit: Visit, request: Request) -> None:
        choices = await run.io_bound(find_evaluations, places)
        if not choices:
            visit.problem(Problem("evaluate.none"))
        else:
            await _EvaluatePage(visit, choices).build()

    add_page("evaluate", build)


class _EvaluatePage:
    def __init__(self, visit: Visit, choices: list[EvaluationChoice]) -> None:
        self.visit, self.say = visit, visit.say
        self.choices = {str(choice.path): choice for choice in choices}
        finished = [path for path, choice in self.choices.items() if choice.finished]
        self.chosen = finished[:1]
        self.opened: list[Evaluation] = []
        self.which: Which = "all"
        self.start = 0

    async def build(self) -> None:
        say = self.say
        names = {
            path: choice.name if choice.finished else f"{choice.name} ({say('evaluate.unfinished')})"
            for path, choice in self.choices.items()
        }
        select = ui.select(names, multiple=True, value=self.chosen, label=say("evaluate.which"), on_change=self._choose)
        select.props("outlined dense options-dense use-chips")
        self.table = ui.element("section").classes("card")
        self.items = ui.element("section").classes("card")
        await self._show()

    async def _choose(self, event: Any) -> None:
        self.chosen = list(event.value)[-MOST_CHOSEN:]
        await self._show()

    async def _show(self) -> None:
        self.items.set_visibility(False)
        self.table.clear()
        try:
            opened = await run.io_bound(open_all, [self.choices[path] for path in self.chosen])
            lines = lines_of(opened or [])
        except READING_ERRORS as error:
            with self.table:
                self.visit.problem(problem_of(error))
            return
        self.opened = opened or []
        names = [self.choices[path].name for path in self.chosen]
        with self.table:
            if not lines:
                ui.label(self.say("evaluate.choose")).classes("faint")
                return
            ui.plotly(intervals_figure(lines, names, self.say("evaluate.chance"))).style("width: 100%")
            self._draw_table(lines, names)
            ui.label(self.say("evaluate.note")).classes("faint small")

    def _draw_table(self, lines: Sequence[Line], names: Sequence[str]) -> None:
        say = self.say
        heads = [escape(say(f"evaluate.{name}")) for name in ("task", "shots", "metric", "chance")]
        cells = "".join(
            f'<th class="{"n" if place == 1 or place > 2 else ""}">{head}</th>' for place, head in enumerate(heads)
        )
        cells += "".join(f'<th class="n">{escape(name)}</th>' for name in names)
        with ui.element("div").classes("scroll"), ui.element("table").classes("plain"):
            ui.html(f"<tr>{cells}</tr>", sanitize=False, tag="thead")
            with ui.element("tbody"):
                for line in lines:
                    self._draw_line(line)

    def _draw_line(self, line: Line) -> None:
        chance = "–" if line.chance is None else f"{line.chance:.3f}"
        with ui.element("tr"):
            cells = ((escape(line.task), ""), (str(line.shots), "n"), (escape(line.metric), ""), (chance, "n"))
            for text, kind in cells:
                ui.html(text, sanitize=False, tag="td").classes(kind)
            for place, number in enumerate(line.numbers):
                cell = ui.html(number_cell(number), sanitize=False, tag="td").classes("n number")
                if number is not None:
                    better = self.say(f"evaluate.{number.better}")
                    cell.props(f'tabindex=0 role=button title="{better}"').style("cursor: pointer")
                    show = partial(self._begin_items, place, line)
                    cell.on("click", show)
                    cell.on("keydown.enter", show)

    async def _begin_items(self, place: int, line: Line) -> None:
        self.which, self.start = "all", 0
        await self._show_items(place, line)

    async def _show_items(self, place: int, line: Line) -> None:
        evaluation, which, start = self.opened[place], self.which, self.start
        self.items.set_visibility(True)
        self.items.clear()

        def read() -> Items:
            return items_of(evaluation, line.task, line.shots, metric=line.metric, which=which, start=start)

        found: Items | Problem | None
        try:
            found = await run.io_bound(read)
        except READING_ERRORS as error:
            found = problem_of(error)
        self.items.clear()
        with self.items:
            heading(f"{line.task}, {self.say('evaluate.shots_of', line.shots)}, {line.metric}").style("margin-top: 0")
            if isinstance(found, Problem):
                self.visit.problem(found)
            elif found is not None:
                self._draw_items(found, place, line)

    def _draw_items(self, found: Items, place: int, line: Line) -> None:
        say = self.say

        async def turn(which: Which, start: int) -> None:
            self.which, self.start = which, start
            await self._show_items(place, line)

        if found.judged:
            kinds = {which: say(f"evaluate.{which}_items") for which in ("all", "right", "wrong")}
            ui.toggle(kinds, value=self.which, on_change=lambda event: turn(event.value, 0)).props("flat dense no-caps")
        ui.label(say("evaluate.items", f"{found.count:,}")).classes("faint small")
        for record in found.records:
            draw_item(self.visit, record)
        with ui.element("div").classes("row").style("margin-top: 1rem"):
            before = ui.button(say("data.before"), on_click=lambda: turn(self.which, max(0, self.start - PAGE)))
            after = ui.button(say("data.after"), on_click=lambda: turn(self.which, self.start + PAGE))
            for button in (before, after):
                button.props("outline no-caps")
            before.set_enabled(self.start > 0)
            after.set_enabled(self.start + PAGE < found.count)
