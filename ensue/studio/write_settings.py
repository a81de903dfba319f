"""The controls of how a model chooses its tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nicegui import ui

from ensue.studio.desk import Desk
from ensue.studio.sheet import WriteSettings
from ensue.studio.texts import Say

SLIDERS: dict[str, tuple[float, float, float]] = {
    "temperature": (0.0, 2.0, 0.05),
    "top_k": (0, 200, 1),
    "top_p": (0.05, 1.0, 0.05),
    "most": (1, 400, 1),
}
"""Lowest, highest and step of each."""


class WriteControls:
    """Sliders whose values are kept with the tab."""

    def __init__(self, say: Say, desk: Desk) -> None:
        self._say, self._desk = say, desk
        with ui.element("div").classes("card sliders"):
            for name, (low, high, step) in SLIDERS.items():
                self._slider(name, low, high, step)
            self._seed()

    @property
    def settings(self) -> WriteSettings:
        return self._desk.settings

    def _slider(self, name: str, low: float, high: float, step: float) -> None:
        value = getattr(self._desk.settings, name)
        with ui.element("div"):
            with ui.element("div").classes("slider-head"):
                ui.label(self._say(f"write.{name}"))
                shown = ui.html(self._text(name, value), sanitize=False, tag="b").classes("numbers")

            def change(event: Any) -> None:
                kind = type(getattr(WriteSettings(), name))
                self._set(name, kind(event.value))
                shown.set_content(self._text(name, event.value))

            slider = ui.slider(min=low, max=high, step=step, value=value, on_change=change)
            slider.props(f'dense aria-label="{self._say(f"write.{name}")}"').classes(f"slider-{name}")

    def _seed(self) -> None:
        def change(event: Any) -> None:
            if event.value is not None and float(event.value).is_integer() and 0 <= event.value < 2**31:
                self._set("seed", int(event.value))

        number = ui.number(self._say("write.seed"), value=self._desk.settings.seed, min=0, precision=0)
        number.props("outlined dense").on_value_change(change)

    def _set(self, name: str, value: Any) -> None:
        self._desk.settings = replace(self._desk.settings, **{name: value})

    def _text(self, name: str, value: float) -> str:
        if (name == "top_k" and not value) or (name == "top_p" and value >= 1):
            return self._say("write.all")
        return f"{value:g}" if isinstance(value, int) or float(value).is_integer() else f"{value:.2f}"
