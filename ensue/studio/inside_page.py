"""The page that shows what a model computed on a text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from nicegui import run, ui

from ensue.generate.lm import LM
from ensue.serve.memory import give_back
from ensue.studio.desk import Desk, desk_of_this_tab
from ensue.studio.frame import Visit, add_page, heading
from ensue.studio.lens_figures import attention_figure, heads_figure, lens_figure
from ensue.studio.lenses import Attention, Inside, attention_of, look_inside
from ensue.studio.model_list import ModelList
from ensue.studio.models import Models
from ensue.studio.problems import Problem, problem_of

WORKING_ERRORS = (ValueError, OSError, RuntimeError, IndexError)


def add_inside_page(models: Models) -> None:
    """The page at /inside."""
    add_page("inside", lambda visit, request: _InsidePage(visit, ModelList(models), desk_of_this_tab()).build())


class _InsidePage:
    def __init__(self, visit: Visit, models: ModelList, desk: Desk) -> None:
        self.visit, self.say, self.models, self.desk = visit, visit.say, models, desk
        self.layer = self.head = self.place = 0
        self.tokens: list[int] = []
        self.lm: LM | None = None
        self.inside: Inside | None = None
        self.attention: Attention | None = None

    async def build(self) -> None:
        say, desk = self.say, self.desk
        if not self.models.found(self.visit):
            return
        ui.context.client.on_delete(self._let_go)
        sheet = desk.sheets[desk.looked_at]
        path = desk.paths[desk.looked_at]
        self.written = sheet.text() or desk.prompt or say("write.example")
        self.written_tokens = (path, sheet.branches.tokens)
        self.select = self.models.select(self.models.known(path), label=say("write.model"))
        self.text = ui.textarea(label=say("inside.text"), value=self.written).classes("prompt-box")
        self.text.props("outlined autogrow")
        with ui.element("div").classes("row"):
            ui.button(say("inside.look"), on_click=self.look).props("unelevated no-caps")
            self.status = ui.label().classes("faint small")
        self.message = ui.element("div").style("display: contents")
        self.lens = ui.element("section").classes("card")
        self.heads = ui.element("section").classes("card")
        for section in (self.lens, self.heads):
            section.set_visibility(False)
        if sheet.branches.tokens:
            await self.look()

    async def look(self) -> None:
        """Run the text through the model, and draw what it computed."""
        self._say_problem(None)
        self.status.set_text(self.say("loading"))
        path = self.select.value
        try:
            model = await self.models.open(path)
            lm = self.lm = None if model is None else await run.io_bound(model.whole)
            if lm is None:  # the server is ending
                return
            if self.text.value == self.written and self.written_tokens[0] == path and self.written_tokens[1]:
                self.tokens = list(self.written_tokens[1])  # the very tokens that were written
            else:
                self.tokens = lm.tokenizer.encode(self.text.value or "") or [lm.tokenizer.end]
            if len(self.tokens) > lm.config.context:
                self._say_problem(Problem("inside.too_long", (f"{len(self.tokens):,}", f"{lm.config.context:,}")))
                return
            self.inside = await run.io_bound(look_inside, lm, self.tokens)
        except WORKING_ERRORS as error:
            self._say_problem(problem_of(error))
            return
        finally:
            self.status.set_text("")
        if self.inside is None:
            return
        self.layer, self.head = min(self.layer, lm.config.layers - 1), min(self.head, lm.config.heads - 1)
        self.place = len(self.inside.labels) - 1
        self._draw_lens(self.inside)
        self._draw_heads(self.inside)
        await self._choose_head(self.layer, self.head)

    def _let_go(self) -> None:
        """The page was left for good; what was read for it need not stay."""
        self.lm = None
        give_back()

    def _say_problem(self, problem: Problem | None) -> None:
        self.message.clear()
        if problem is not None:
            for section in (self.lens, self.heads):
                section.set_visibility(False)
            with self.message:
                self.visit.problem(problem)

    def _draw_lens(self, inside: Inside) -> None:
        self.lens.clear()
        self.lens.set_visibility(True)
        with self.lens:
            heading(self.say("inside.lens")).style("margin-top: 0")
            ui.label(self.say("inside.lens_lead")).classes("faint small")
            if inside.first:
                ui.label(self.say("inside.last", len(inside.labels))).classes("faint small")
            with ui.element("div").classes("scroll") as scroll:
                ui.plotly(lens_figure(inside, self.say)).classes("lens")
            scroll.props(f'tabindex=0 aria-label="{self.say("inside.lens")}"')

    def _draw_heads(self, inside: Inside) -> None:
        say = self.say
        self.heads.clear()
        self.heads.set_visibility(True)
        layers, heads = len(inside.distance), len(inside.distance[0])
        with self.heads:
            heading(say("inside.attention")).style("margin-top: 0")
            ui.label(say("inside.attention_lead")).classes("faint small")
            with ui.element("div").classes("row"):
                self.layer_choice = ui.select(list(range(layers)), value=self.layer, label=say("inside.layer_axis"))
                self.head_choice = ui.select(list(range(heads)), value=self.head, label=say("inside.head"))
                for select in (self.layer_choice, self.head_choice):
                    select.props("outlined dense options-dense").style("min-width: 7rem")
                    select.on_value_change(self._choose_from_lists)
            self.map = ui.plotly(heads_figure(inside, say, layer=self.layer, head=self.head)).style("width: 100%")
            self.map.on(
                "plotly_click", self._clicked, js_handler="(event) => emit([event.points[0].y, event.points[0].x])"
            )
            self.looked = ui.html("", sanitize=False).classes("sheet-text looked")
            self.looked.on(
                "click",
                self._clicked_token,
                js_handler="(event) => { const token = event.target.closest('[data-place]'); "
                "if (token) emit(Number(token.dataset.place)); }",
            )
            self.pattern = ui.element("div")

    async def _clicked(self, event: Any) -> None:
        layer, head = (int(value) for value in event.args)
        self.layer_choice.value, self.head_choice.value = layer, head

    async def _choose_from_lists(self) -> None:
        await self._choose_head(int(self.layer_choice.value or 0), int(self.head_choice.value or 0))

    async def _choose_head(self, layer: int, head: int) -> None:
        lm, inside = self.lm, self.inside
        if lm is None or inside is None:
            return
        self.layer, self.head = layer, head
        try:
            attention = await run.io_bound(attention_of, lm, self.tokens, layer=layer, head=head)
        except WORKING_ERRORS as error:
            self._say_problem(problem_of(error))
            return
        if attention is None or (layer, head) != (self.layer, self.head):  # another one was chosen meanwhile
            return
        self.attention = attention
        self.map.update_figure(heads_figure(inside, self.say, layer=layer, head=head))
        self.pattern.clear()
        with self.pattern:
            ui.plotly(attention_figure(attention, inside.labels, self.say)).style("width: 100%")
        self._draw_looked()

    def _clicked_token(self, event: Any) -> None:
        self.place = int(event.args)
        self._draw_looked()

    def _draw_looked(self) -> None:
        """The text, each token as blue as the chosen one looks at it."""
        if self.inside is None or self.attention is None or self.place >= len(self.inside.labels):
            return
        self.looked.set_content(tokens_by_weight(self.inside.labels, self.attention.weights[self.place], self.place))


def tokens_by_weight(labels: Sequence[str], weights: Sequence[float], chosen: int) -> str:
    """A text as HTML, each token as blue as its weight says, and the one that looks framed."""
    return "".join(
        f'<span class="token{" current" if place == chosen else ""}" data-place="{place}" title="{100 * weight:.1f}%" '
        f'style="background: rgba(47, 127, 184, {min(0.85, weight**0.5):.3f})">{escape(label.replace("␣", " "))}</span>'
        for place, (label, weight) in enumerate(zip(labels, weights, strict=True))
    )
