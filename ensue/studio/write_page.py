"""The page where a person and a model write together."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from nicegui import ui

from ensue.studio.desk import Desk, desk_of_this_tab
from ensue.studio.frame import Visit, add_page
from ensue.studio.model_list import ModelList
from ensue.studio.models import Models
from ensue.studio.problems import problem_of
from ensue.studio.sheet import Sheet
from ensue.studio.texts import say_problem
from ensue.studio.token_piece import PIECE, TokenText
from ensue.studio.token_texts import LEVELS
from ensue.studio.write_settings import WriteControls

LOOK_EVERY = 0.06
"""Seconds between two looks at what the models have written."""

BRANCHES = 24
"""Branches that are listed, the newest."""


def add_write_page(models: Models) -> None:
    """The page at /."""
    add_page("write", lambda visit, request: _WritePage(visit, ModelList(models), desk_of_this_tab()).build())


class _WritePage:
    """The page in one tab."""

    def __init__(self, visit: Visit, models: ModelList, desk: Desk) -> None:
        self.visit, self.say, self.models, self.desk = visit, visit.say, models, desk
        self.columns: list[_Column] = []

    async def build(self) -> None:
        say, desk = self.say, self.desk
        if not self.models.found(self.visit):
            return
        self.prompt = ui.textarea(label=say("write.prompt"), value=desk.prompt or say("write.example"))
        self.prompt.classes("prompt-box").props("outlined autogrow").on("keydown.ctrl.enter", self.write)
        self.prompt.on_value_change(self._remember_prompt)
        with ui.element("div").classes("row"):
            self.write_button = ui.button(say("write.write"), on_click=self.write).props("unelevated no-caps")
            self.more_button = ui.button(say("write.more"), on_click=self.go_on).props("outline no-caps")
            self.stop_button = ui.button(say("write.stop"), on_click=self.stop).props("outline no-caps")
            self.back_button = ui.button(say("write.back"), on_click=self.back).props("flat no-caps")
            ui.element("div").classes("grow")
            ui.switch(say("write.beside"), value=desk.beside, on_change=self._set_beside).props("dense")
        self.controls = WriteControls(say, desk)
        self.sheets = ui.element("div").classes("sheets")
        _legend(say)
        self.timer = ui.timer(LOOK_EVERY, self.look)
        for number, sheet in enumerate(desk.sheets):
            with self.sheets:
                self.columns.append(_Column(self, sheet, number))
        self._arrange()
        for column in self.shown:
            await column.open()
        self.refresh()

    @property
    def shown(self) -> list[_Column]:
        return self.columns if self.desk.beside else self.columns[:1]

    async def write(self) -> None:
        settings = self.controls.settings
        await self._with_models(lambda sheet: sheet.begin(self.prompt.value or "", settings), newest=True)

    async def go_on(self) -> None:
        await self._with_models(lambda sheet: sheet.go_on(self.controls.settings))

    def stop(self) -> None:
        for column in self.shown:
            column.sheet.stop()
        self.refresh()

    def back(self) -> None:
        for column in self.shown:
            column.sheet.back()
        self.refresh()

    def look(self) -> None:
        """Draw what came since the last time."""
        for column in self.shown:
            was_writing = column.sheet.writing
            if column.sheet.collect() or was_writing != column.drawn_writing:
                column.draw()
        self._buttons()

    def refresh(self) -> None:
        for column in self.shown:
            column.draw()
        self._buttons()

    async def _with_models(self, do: Callable[[Sheet], None], *, newest: bool = False) -> None:
        for column in self.shown:
            if await column.open(newest=newest):
                do(column.sheet)
        self.refresh()

    def _buttons(self) -> None:
        sheets = [column.sheet for column in self.shown]
        writing = any(sheet.writing for sheet in sheets)
        self.stop_button.set_enabled(writing)
        self.more_button.set_enabled(not writing and any(sheet.branches.tokens for sheet in sheets))
        self.back_button.set_enabled(any(sheet.branches.can_go_back for sheet in sheets))

    def _remember_prompt(self) -> None:
        self.desk.prompt = self.prompt.value or ""

    async def _set_beside(self, event: Any) -> None:
        self.desk.beside = bool(event.value)
        self._arrange()
        for column in self.shown:
            await column.open()
        self.refresh()

    def _arrange(self) -> None:
        self.sheets.classes(**({"add": "two"} if self.desk.beside else {"remove": "two"}))
        for column in self.columns:
            column.card.set_visibility(column in self.shown)


class _Column:
    """One sheet as it is drawn."""

    def __init__(self, page: _WritePage, sheet: Sheet, number: int) -> None:
        self.page, self.sheet, self.number = page, sheet, number
        self.drawn_writing = False
        self.drawn = 0
        self.said: str | None = None
        self.opening = 0
        say, paths = page.say, page.desk.paths
        paths[number] = page.models.known(paths[number], place=number)
        words = {name: say(f"token.{name}") for name in ("rank", "unknown", "person", "tried", "pick", "onward")}
        with ui.element("section").classes("card sheet") as self.card:
            label = say("write.second" if number else "write.model")
            self.select = page.models.select(paths[number], label=label, on_change=self._choose)
            self.message = ui.element("div").style("display: contents")
            self.paper = ui.element("div").classes("sheet-text").props("aria-live=off")
            with ui.element("div").classes("row"):
                self.stats = ui.label().classes("faint small numbers grow")
                self.look = ui.button(say("write.look"), on_click=self._look_inside)
                self.look.props("flat dense no-caps size=sm")
            self.branches = ui.element("div").classes("branches")
        self.text = TokenText(self.paper, words, on_pick=self._pick, on_onward=self._onward)

    async def open(self, *, newest: bool = False) -> bool:
        """Have the chosen model ready; False, with a message, where it cannot be.

        A text goes on with the weights that it was begun with, unless the `newest` of a run are asked for.
        """
        path = self.page.desk.paths[self.number]
        held = self.sheet.model
        if not newest and held is not None and held.choice.path == path and held.thread.alive:
            return True
        self.opening += 1
        self._draw_message()
        try:
            model = await self.page.models.open(path)
        except (ValueError, OSError, RuntimeError) as error:
            self.sheet.stop()
            self.sheet.problem = problem_of(error)
            self.draw()
            return False
        finally:
            self.opening -= 1
        if model is None:  # the server is ending
            return False
        if self.sheet.model is not model:
            self.sheet.use(model)
        return True

    def draw(self) -> None:
        sheet, say = self.sheet, self.page.say
        self.drawn_writing = sheet.writing
        first = sheet.changes() // PIECE * PIECE if self.drawn else 0
        self.text.show(sheet.shown(first), first=first)
        self.drawn = count = len(sheet.branches.tokens)
        self.paper.classes(**({"add": "live"} if sheet.writing else {"remove": "live"}))
        self._draw_message()
        bits = sheet.bits
        told = (f"{count:,}", "–" if bits is None else f"{bits:.2f}", f"{sheet.speed:,.0f}")
        self.stats.set_text(say("write.stats", *told) if count else "")
        self.look.set_visibility(count > 0)
        if not sheet.writing:
            self._draw_branches()

    def _draw_message(self) -> None:
        sheet, say = self.sheet, self.page.say
        if sheet.problem is not None:
            said = say_problem(say, sheet.problem)
        elif sheet.branches.tip is sheet.branches.root:
            said = say("loading" if self.opening and sheet.model is None else "write.empty")
        else:
            said = ""
        if said == self.said:
            return
        self.said = said
        self.message.clear()
        with self.message:
            if sheet.problem is not None:
                self.page.visit.problem(sheet.problem)
            elif said:
                ui.label(said).classes("faint")

    def _draw_branches(self) -> None:
        self.branches.clear()
        told = self.sheet.branch_texts(BRANCHES)
        if len(told) < 2:
            return
        with self.branches:
            ui.label(self.page.say("write.branches")).classes("faint small")
            for node, text, here in told:
                button = ui.html(escape(text[:160] or "·"), sanitize=False, tag="button").classes("branch")
                button.props("type=button").on("click", lambda node=node: self._show(node))
                if here:
                    button.classes("here").props("aria-current=true")

    async def _choose(self, event: Any) -> None:
        self.page.desk.paths[self.number] = event.value
        await self.open()
        self.page.refresh()

    async def _pick(self, place: int, token: int) -> None:
        if await self.open() and place < len(self.sheet.branches.tokens):
            self.sheet.pick(place, token, self.page.controls.settings)
        self.page.refresh()

    async def _onward(self, place: int) -> None:
        if await self.open() and place < len(self.sheet.branches.tokens):
            self.sheet.go_on(self.page.controls.settings, place=place)
        self.page.refresh()

    def _look_inside(self) -> None:
        self.page.desk.looked_at = self.number
        ui.navigate.to("/inside")

    def _show(self, node: Any) -> None:
        self.sheet.show(node)
        self.page.refresh()


def _legend(say: Callable[..., str]) -> None:
    bounds = [f"≥{100 * LEVELS[0]:g}%", *(f"≥{100 * least:g}%" for least in LEVELS[1:]), f"<{100 * LEVELS[-1]:g}%"]
    levels = "".join(f'<span class="token level-{level}">{bound}</span>' for level, bound in enumerate(bounds))
    person, fork = escape(say("write.legend_person")), escape(say("write.legend_fork"))
    ui.html(
        f"<span>{escape(say('write.legend'))}</span>{levels}"
        f'<span class="token person">{person}</span><span class="token fork">{fork}</span>',
        sanitize=False,
    ).classes("legend")
