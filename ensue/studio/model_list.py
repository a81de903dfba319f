"""The models to choose from, as a page offers them, and the one that was chosen, opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import run, ui

from ensue.studio.frame import Visit
from ensue.studio.models import ModelChoice, Models, OpenModel
from ensue.studio.problems import Problem

MANY = 12
"""Models from which on they are found by typing a part of their name."""


class ModelList:
    """What there was to choose from when a page was built."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.choices = {choice.path: choice for choice in models.choices()}

    def found(self, visit: Visit) -> bool:
        """Whether there is a model at all; says so where there is none."""
        if not self.choices:
            visit.problem(Problem("write.no_models"))
        return bool(self.choices)

    def known(self, path: str, *, place: int = 0) -> str:
        """This path, if it is one of them, or else that of the model at a place of the list, or of the last."""
        paths = list(self.choices)
        return path if path in self.choices else paths[min(place, len(paths) - 1)]

    def select(self, path: str, *, label: str, on_change: Callable[[Any], Any] | None = None) -> ui.select:
        """A list of the models' names, of which that of `path` is chosen."""
        names = {path: choice.name for path, choice in self.choices.items()}
        select = ui.select(names, value=path, label=label, with_input=len(names) > MANY, on_change=on_change)
        return select.props("outlined dense options-dense")

    async def open(self, path: str) -> OpenModel | None:
        """The model, loaded if need be, beside everything else; None where the server is ending.

        Raises ValueError, OSError or RuntimeError, as `Models.open` does.
        """
        return await run.io_bound(self.models.open, self.choices.get(path) or ModelChoice(path, path))
