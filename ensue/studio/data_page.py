"""The page of documents: what data is made of, what is written in it, and why other documents are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Literal

from fastapi import Request
from nicegui import run, ui

from ensue.studio.data_drawing import draw_document, draw_dropped, draw_table, sizes_figure
from ensue.studio.data_list import DataChoice, facts_of, find_data
from ensue.studio.document_store import DocumentStore, Found, Sizes, shown_size
from ensue.studio.dropped import Drops, Reason, drop_reasons, dropped_documents, is_corpus, step_counts
from ensue.studio.frame import Visit, add_page, heading
from ensue.studio.problems import Problem, problem_of
from ensue.studio.run_records import RunRecords

MOST_QUERY = 200
READING_ERRORS = (ValueError, OSError, KeyError, TypeError)
View = Literal["documents", "sizes", "dropped"]


def add_data_page(given: Sequence[Path], runs: Path, records: RunRecords | None) -> None:
    """The page at /data."""

    async def build(visit: Visit, request: Request) -> None:
        choices = await run.io_bound(find_data, given, runs, records)
        if not choices:
            visit.problem(Problem("data.none"))
        else:
            await _DataPage(visit, choices).build()

    add_page("data", build)


class _DataPage:
    def __init__(self, visit: Visit, choices: list[DataChoice]) -> None:
        self.visit, self.say = visit, visit.say
        self.choices = {str(choice.path): choice for choice in choices}
        self.folder = choices[0].path
        self.view: View = "documents"
        self.starts: list[int] = [0]
        self.query = ""
        self.turn = 0

    async def build(self) -> None:
        say = self.say
        names = {path: choice.name for path, choice in self.choices.items()}
        self.select = ui.select(names, value=str(self.folder), label=say("data.folder"), on_change=self._choose)
        self.select.props("outlined dense options-dense")
        self.facts = ui.element("div").classes("card facts")
        views = {view: say(f"data.{view}") for view in ("documents", "sizes", "dropped")}
        ui.toggle(views, value=self.view, on_change=self._turn_to).props("flat no-caps")
        self.body = ui.element("section").classes("card")
        await self._show()

    async def _choose(self, event: Any) -> None:
        self.folder, self.starts = self.choices[event.value].path, [0]
        await self._show()

    async def _turn_to(self, event: Any) -> None:
        self.view = event.value
        await self._show()

    async def _show(self) -> None:
        self._draw_facts()
        self.body.clear()
        show = {"documents": self._documents, "sizes": self._sizes, "dropped": self._dropped}
        await show[self.view]()

    def _draw_facts(self) -> None:
        facts = facts_of(self.folder)
        shown = [("data.count", f"{facts.get('documents', 0):,}"), ("data.bytes", shown_size(facts.get("bytes", 0)))]
        shown += [
            (f"data.{name}", f"{facts[name]:,}")
            for name in ("train_tokens", "held_out_tokens", "vocab")
            if isinstance(facts.get(name), int)
        ]
        self.facts.clear()
        with self.facts:
            for key, value in shown:
                ui.html(f"<b>{escape(value)}</b><span>{escape(self.say(key))}</span>", sanitize=False).classes("fact")

    async def _read(self, question: Callable[[], Any], place: ui.element) -> Any:
        """An answer from a thread; None, with a message in its place, where there is none or it came too late."""
        self.turn += 1
        turn = self.turn
        place.clear()
        with place:
            ui.label(self.say("loading")).classes("faint")
        answer: Any = None
        problem: Problem | None = None
        try:
            answer = await run.io_bound(question)
        except READING_ERRORS as error:
            problem = problem_of(error)
        if turn != self.turn:
            return None
        place.clear()
        if problem is not None:
            with place:
                self.visit.problem(problem)
        return answer

    async def _documents(self) -> None:
        with self.body:
            with ui.element("div").classes("row"):
                search = ui.input(self.say("data.search"), value=self.query).classes("grow")
                search.props("outlined dense clearable maxlength=200 type=search")
            self.listed = ui.element("div")

        async def look_for() -> None:
            self.query, self.starts = (search.value or "")[:MOST_QUERY], [0]
            await self._page()

        search.on("keydown.enter", look_for)
        search.on("clear", look_for)
        await self._page()

    async def _page(self) -> None:
        start, query, folder = self.starts[-1], self.query, self.folder

        def read() -> tuple[Found, int]:
            store = DocumentStore(folder)
            return (store.search(query, start) if query else store.page(start)), store.count

        answer = await self._read(read, self.listed)
        if answer is None:
            return
        found, count = answer
        with self.listed:
            if not found.documents:
                ui.label(self.say("data.nothing", query)).classes("faint")
            for excerpt in found.documents:
                draw_document(self.visit, excerpt, query, count)
            self._turns(self.starts, found.next, self._page)

    async def _sizes(self) -> None:
        folder = self.folder
        sizes: Sizes | None = await self._read(lambda: DocumentStore(folder).sizes(), self.body)
        if sizes is None:
            return
        with self.body:
            heading(self.say("data.by_size")).style("margin-top: 0")
            ui.plotly(sizes_figure(sizes, self.say("data.count"))).style("width: 100%")
            heading(self.say("data.sources"))
            rows = [
                (escape(name), f"{documents:,}", shown_size(size), f"{100 * size / max(1, sizes.bytes):.1f}%")
                for name, documents, size in sizes.sources
            ]
            draw_table([self.say(f"data.{name}") for name in ("source", "count", "bytes", "share")], rows)

    async def _dropped(self) -> None:
        folder = self.folder

        def read() -> tuple[list[Reason], list[tuple[str, ...]]]:
            counts = step_counts(folder) if is_corpus(folder) else []
            rows: list[tuple[str, ...]] = [
                (
                    escape(step.step),
                    f"{step.documents_in:,}",
                    f"{step.documents_in - step.documents_out:,}",
                    shown_size(step.bytes_in - step.bytes_out),
                )
                for step in counts
            ]
            return drop_reasons(folder), rows

        answer = await self._read(read, self.body)
        if answer is None:
            return
        reasons, rows = answer
        with self.body:
            if rows:
                heading(self.say("data.steps")).style("margin-top: 0")
                draw_table([self.say(f"data.{name}") for name in ("step", "documents_in", "fewer", "less")], rows)
            heading(self.say("data.reasons")).style("" if rows else "margin-top: 0")
            if not reasons:
                ui.label(self.say("data.no_reasons")).classes("faint")
                return
            ui.label(self.say("data.choose_reason")).classes("faint small")
            with ui.element("table").classes("plain"), ui.element("tbody"):
                for reason in reasons:
                    self._reason(reason)
            self.listed = ui.element("div")

    def _reason(self, reason: Reason) -> None:
        step = escape(reason.step or self.say("data.unread"))
        size = shown_size(reason.bytes) if reason.bytes is not None else ""
        row = ui.html(
            f'<td>{step}</td><td>{escape(reason.reason)}</td><td class="n">{reason.documents:,}</td>'
            f'<td class="n">{size}</td>',
            sanitize=False,
            tag="tr",
        ).classes("link")
        starts = [0]
        row.props("tabindex=0 role=button")
        show = partial(self._drops, reason, starts)
        row.on("click", show)
        row.on("keydown.enter", show)

    async def _drops(self, reason: Reason, starts: list[int]) -> None:
        folder = self.folder
        drops: Drops | None = await self._read(lambda: dropped_documents(folder, reason, starts[-1]), self.listed)
        if drops is None:
            return
        with self.listed:
            heading(reason.reason)
            for document in drops.documents:
                draw_dropped(self.visit, document)
            self._turns(starts, drops.next, partial(self._drops, reason, starts))

    def _turns(self, starts: list[int], after: int | None, show: Callable[[], Any]) -> None:
        """Buttons to the page before and the one after; `starts` are where the pages so far began."""

        async def back() -> None:
            starts.pop()
            await show()

        async def on() -> None:
            assert after is not None
            starts.append(after)
            await show()

        with ui.element("div").classes("row").style("margin-top: 1rem"):
            ui.button(self.say("data.before"), on_click=back).props("outline no-caps").set_enabled(len(starts) > 1)
            ui.button(self.say("data.after"), on_click=on).props("outline no-caps").set_enabled(after is not None)
