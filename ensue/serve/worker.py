"""Texts for the event loop: those who wait there are told what the engine's thread wrote, all of a step at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.requests import Event
from ensue.generate.engine.thread import EngineThread
from ensue.serve.choice import Choice, Piece

Result = TypeVar("Result")


class Watcher(Protocol):
    """Is told what the worker did; called in the engine's thread."""

    def stepped(self, events: Sequence[Event], *, seconds: float) -> None: ...

    def wrote(self, choice: Choice, now: float) -> None: ...

    def ended(self, choice: Choice, now: float) -> None: ...


class Worker:
    """Runs an engine from `start` to `stop`; every other method may be called from anywhere."""

    def __init__(self, engine: Engine, watcher: Watcher) -> None:
        self.thread = EngineThread(engine, after_step=self._deliver)
        self._watcher = watcher
        self._ready: list[tuple[asyncio.Queue[Piece], Piece]] = []
        self._deaf = False
        self._lock = threading.Lock()
        self._outstanding = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def alive(self) -> bool:
        """Whether it takes work."""
        return self.thread.alive and not self._deaf

    @property
    def outstanding(self) -> int:
        """Texts that were submitted, and other work, that are not over."""
        return self._outstanding

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; pieces are put into their inboxes in `loop`."""
        self._loop = loop
        self.thread.start()

    def stop(self) -> None:
        """End after the step that is going on; what was not finished is forgotten."""
        self.thread.stop()

    def submit(self, choices: Sequence[Choice]) -> Callable[[], None]:
        """Begin to write; each is one that the engine's `check` has seen. Returns what gives up those not over."""
        places = sum(choice.counts for choice in choices)
        self.count(places)
        try:
            return self.thread.write([(choice.request, _Telling(self, choice)) for choice in choices])
        except ValueError:
            self.count(-places)
            raise

    def work(self, pieces: Generator[None, None, Result]) -> Future[Result]:
        """Do what a generator does, a piece of it after each step; the future has what it returns."""
        self.count(1)
        future = self.thread.work(pieces)
        future.add_done_callback(lambda done: self.count(-1))
        return future

    @contextmanager
    def place(self) -> Iterator[None]:
        """Something that is outstanding for the length of the block."""
        self.count(1)
        try:
            yield
        finally:
            self.count(-1)

    def count(self, more: int) -> None:
        """So many more are outstanding."""
        with self._lock:
            self._outstanding += more

    def take(self, choice: Choice, event: Event) -> None:
        """What a step brought for a choice; in the engine's thread."""
        pieces = choice.take(event)
        if event.new:
            self._watcher.wrote(choice, time.perf_counter())
        self._ready += [(choice.inbox, piece) for piece in pieces]

    def end(self, choice: Choice, error: Exception | None) -> None:
        """A choice is over; in the engine's thread."""
        if error is not None:
            self._ready += [(choice.inbox, piece) for piece in choice.fail(error)]
        choice.over = True
        if choice.counts:
            self.count(-1)
            self._watcher.ended(choice, time.perf_counter())

    def _deliver(self, events: Sequence[Event], seconds: float) -> None:
        """Put pieces into their inboxes, all of a step's at once."""
        if seconds:
            self._watcher.stepped(events, seconds=seconds)
        ready, self._ready = self._ready, []
        if not ready or self._loop is None:
            return

        def deliver() -> None:
            for inbox, piece in ready:
                inbox.put_nowait(piece)

        try:
            self._loop.call_soon_threadsafe(deliver)
        except RuntimeError:  # the loop was closed, and nobody reads any more
            self._deaf = True


@dataclass(frozen=True)
class _Telling:
    """Has the worker told what comes of a choice."""

    worker: Worker
    choice: Choice

    def take(self, event: Event) -> bool:
        self.worker.take(self.choice, event)
        return not self.choice.over

    def end(self, error: Exception | None) -> None:
        self.worker.end(self.choice, error)
