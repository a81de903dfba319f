"""What a person sees while something long runs: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

WIDEST = 400
"""Columns that a table may have."""


class Bar(Protocol):
    """A running count of work done."""

    def advance(self, amount: int) -> None: ...

    def set_total(self, total: int) -> None: ...


class _RichBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, amount: int) -> None:
        self._progress.advance(self._task, amount)

    def set_total(self, total: int) -> None:
        self._progress.update(self._task, total=total)


class TrainingBar:
    """Loss, tokens a second and time left, redrawn in place; in a log, a line every `LOG_SECONDS`."""

    LOG_SECONDS = 15.0

    def __init__(self, console: Console, progress: Progress, task: TaskID) -> None:
        self._console, self._progress, self._task = console, progress, task
        self._said = time.monotonic()

    def update(self, *, step: int, steps: int, loss: float, tokens_per_second: float, seconds_left: float) -> None:
        left = f"{int(seconds_left) // 60}:{int(seconds_left) % 60:02d} left"
        status = f"loss {loss:.3f}  {tokens_per_second:,.0f} tokens/s  {left}"
        self._progress.update(self._task, completed=step, total=steps, status=status)
        if not self._console.is_terminal and time.monotonic() - self._said > self.LOG_SECONDS:
            self._said = time.monotonic()
            self._console.print(f"step {step:,}/{steps:,}  {status}")


class Display:
    """Everything Ensue tells a person; on standard error where `quiet_output`, so that --json stays clean."""

    def __init__(self, *, to_stderr: bool = False, quiet: bool = False) -> None:
        self.console = Console(stderr=to_stderr, highlight=False, quiet=quiet)

    def say(self, text: str = "", style: str = "") -> None:
        self.console.print(text, style=style or None, markup=False, soft_wrap=True)

    def heading(self, text: str) -> None:
        self.console.print(f"\n{text}", style="bold", markup=False)

    def show(self, drawn: RenderableType) -> None:
        """A table, as wide as it needs to be: a wrapped line can be read, a cut number cannot."""
        needed = Measurement.get(self.console, self.console.options.update(max_width=WIDEST), drawn).maximum
        Console(file=self.console.file, width=max(needed, self.console.width)).print(drawn)

    @contextmanager
    def bar(self, label: str, total: int, unit: str) -> Iterator[Bar]:
        """A bar over `total` units (bytes are shown as MB); in a log, one line when it is done."""
        shown = f"{total / 1e6:,.1f} MB" if unit == "bytes" else unit
        start = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn(shown), TimeElapsedColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(label, total=total)
            yield _RichBar(progress, task)
            done = progress.tasks[task].total
            progress.update(task, completed=done)
        if not self.console.is_terminal:
            self.say(f"{label}: {shown} in {time.monotonic() - start:.1f} s")

    @contextmanager
    def training(self, steps: int) -> Iterator[TrainingBar]:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        status = TextColumn("{task.fields[status]}")
        with Progress(*columns, status, console=self.console, disable=not self.console.is_terminal) as progress:
            task = progress.add_task("training", total=steps, status="")
            yield TrainingBar(self.console, progress, task)
