"""What every page has around it: the way to the others, the language and the light."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from fastapi import Request
from nicegui import ui

from ensue.studio.problems import Problem
from ensue.studio.texts import LANGUAGES, Language, Say, choose_language, say_problem, speaker

Place = Literal["write", "runs", "inside", "data", "evaluate"]
PLACES: dict[Place, str] = {
    "write": "/",
    "runs": "/runs",
    "inside": "/inside",
    "data": "/data",
    "evaluate": "/evaluate",
}
LANGUAGE_COOKIE, LIGHT_COOKIE = "ensue_language", "ensue_light"
LIGHTS: dict[str, bool | None] = {"auto": None, "light": False, "dark": True}
SIGNS = {"auto": "◐", "light": "○", "dark": "●"}
STYLE = (Path(__file__).parent / "studio.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Visit:
    """One page in one browser tab: its language, and how to say something in it."""

    language: Language
    say: Say

    def problem(self, problem: Problem) -> ui.label:
        """A message where something went wrong."""
        return ui.label(say_problem(self.say, problem)).classes("problem").props("role=alert")


def add_page(place: Place, build: Callable[[Visit, Request], Awaitable[None]], *facts: str) -> None:
    """The page at a place, with its first words, which speak of `facts`; `build` fills it once the browser is there."""

    @ui.page(PLACES[place])
    async def page(request: Request) -> None:
        with _frame(place, request) as visit:
            ui.label(visit.say(f"{place}.lead", *facts)).classes("faint")
            inside = ui.element("div").style("display: contents")
        if await _is_here():
            with inside:
                await build(visit, request)


@contextmanager
def _frame(place: Place, request: Request) -> Iterator[Visit]:
    """The page's surroundings; what is built inside is its main part."""
    language = choose_language(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language"))
    say = speaker(language)
    light = request.cookies.get(LIGHT_COOKIE, "auto")
    light = light if light in LIGHTS else "auto"
    ui.add_css(STYLE)
    ui.colors(primary="#2f6690", negative="#b4584a", positive="#1a7f5a", dark_page="#14171c", dark="#1c2128")
    ui.add_head_html(f"<script>document.documentElement.lang = '{language}'</script>")
    ui.page_title(f"{say(f'page.{place}')} · Ensue")
    dark = ui.dark_mode(LIGHTS[light])
    with ui.element("header").classes("bar-top"):
        ui.html(f'<a class="skip" href="#main">{escape(say("skip"))}</a>', sanitize=False).classes("skip-place")
        ui.link("Ensue", "/").classes("name")
        with ui.element("nav"):
            for name, path in PLACES.items():
                link = ui.link(say(f"page.{name}"), path)
                if name == place:
                    link.classes("here").props('aria-current="page"')
        _light_switch(dark, light, say)
        _language_switch(language, say)
    with ui.element("main").classes("main").props("id=main"):
        yield Visit(language, say)


async def _is_here() -> bool:
    """Wait for the browser to connect; False where it has left before it did."""
    client = ui.context.client
    await client.connected()
    return client.has_socket_connection


def heading(text: str, level: int = 2) -> ui.element:
    """A heading of the page."""
    with ui.element(f"h{level}") as element:
        ui.html(escape(text), sanitize=False, tag="span")
    return element


def _light_switch(dark: ui.dark_mode, light: str, say: Say) -> None:
    names = list(LIGHTS)

    def turn() -> None:
        chosen = names[(names.index(button.text_of_light) + 1) % len(names)]
        button.text_of_light = chosen
        button.set_content(SIGNS[chosen])
        dark.value = LIGHTS[chosen]
        _remember(LIGHT_COOKIE, chosen, reload=False)

    button = _LightButton(light)
    button.classes("quiet").props(f'title="{say("theme")}" aria-label="{say("theme")}" type=button').on("click", turn)


class _LightButton(ui.html):
    """A button that knows which light was chosen."""

    def __init__(self, light: str) -> None:
        super().__init__(SIGNS[light], sanitize=False, tag="button")
        self.text_of_light = light


def _language_switch(language: Language, say: Say) -> None:
    for name, words in LANGUAGES.items():
        if name == language:
            continue
        button = ui.html(escape(words), sanitize=False, tag="button").classes("quiet language")
        button.props(f'lang={name} type=button aria-label="{say("language")}: {words}"')
        button.on("click", lambda name=name: _remember(LANGUAGE_COOKIE, name, reload=True))


def _remember(cookie: str, value: str, *, reload: bool) -> None:
    then = "location.reload()" if reload else ""
    ui.run_javascript(f"document.cookie = '{cookie}={value}; path=/; max-age=31536000; samesite=lax'; {then}")
