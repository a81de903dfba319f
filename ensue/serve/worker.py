"""The thread that owns the engine: others hand it texts to write, and it tells them what came of each step."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.requests import Event
from ensue.serve.choice import Choice, Piece

Result = TypeVar("Result")
LOG = logging.getLogger("ensue.serve")


class Watcher(Protocol):
    """Is told what the worker did; called in the worker's thread."""

    def stepped(self, *, texts: int, seconds: float) -> None: ...

    def wrote(self, choice: Choice, tokens: int, now: float) -> None: ...

    def ended(self, choice: Choice, now: float) -> None: ...


@dataclass
class _Job:
    """Work of another kind, done a piece at a time between the engine's steps."""

    pieces: Generator[Any, None, Any]
    future: Future[Any]

    def advance(self) -> bool:
        """Do a piece; whether more is left."""
        try:
            next(self.pieces)
        except StopIteration as end:
            if not self.future.cancelled():
                self.future.set_result(end.value)
        except Exception as error:
            if not self.future.cancelled():
                self.future.set_exception(error)
        else:
            if not self.future.cancelled():
                return True
            self.pieces.close()  # at once, and not when the next job takes its place
        return False


class Worker:
    """Runs an engine in a thread of its own from `start` to `stop`; every other method may be called from anywhere."""

    def __init__(self, engine: Engine, watcher: Watcher) -> None:
        self._engine, self._watcher = engine, watcher
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._choices: dict[int, Choice] = {}
        self._numbers: dict[int, int] = {}
        self._jobs: list[_Job] = []
        self._stopped = False
        self._lock = threading.Lock()
        self._outstanding = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="ensue-engine", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it takes work."""
        return self._thread.is_alive() and not self._stopped

    @property
    def outstanding(self) -> int:
        """Texts that were submitted, and other work, that are not over."""
        return self._outstanding

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; pieces are put into their inboxes in `loop`."""
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is going on; what was not finished is forgotten."""
        self._stopped = True
        self._orders.put(None)
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Work that is outstanding for the length of the block."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def submit(self, choices: Sequence[Choice]) -> None:
        """Begin to write; each is one that the engine's `check` has seen."""
        self._count(sum(choice.counts for choice in choices))
        self._orders.put(lambda: self._submit(choices))

    def cancel(self, choices: Iterable[Choice]) -> None:
        """Write no more of these; what is over already is no error."""
        given = list(choices)
        self._orders.put(lambda: self._cancel(given))

    def work(self, pieces: Generator[Any, None, Any]) -> Future[Any]:
        """Do what a generator does, a piece of it after each step; the future has what it returns."""
        self._count(1)
        future = self._begin(pieces)
        future.add_done_callback(lambda done: self._count(-1))
        return future

    def ask(self, question: Callable[[Engine], Result]) -> Future[Result]:
        """What the engine says between two steps."""

        def pieces() -> Generator[None, None, Result]:
            return question(self._engine)
            yield

        return self._begin(pieces())

    def _begin(self, pieces: Generator[Any, None, Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._orders.put(lambda: self._jobs.append(_Job(pieces, future)))
        return future

    def _count(self, more: int) -> None:
        with self._lock:
            self._outstanding += more

    def _run(self) -> None:
        while self._obey():
            try:
                self._step()
            except Exception as error:
                LOG.exception("a step of the engine failed; the texts that were being written have ended")
                self._fail_all(error)
            if self._jobs:
                job = self._jobs.pop(0)
                if job.advance():
                    self._jobs.append(job)

    def _obey(self) -> bool:
        """Do what was ordered, waiting for it where there is nothing else to do; False at the end."""
        idle = not (self._engine.going or self._engine.waiting or self._jobs)
        while True:
            try:
                order = self._orders.get(block=idle)
            except queue.Empty:
                return True
            if order is None:
                return False
            order()
            idle = False

    def _submit(self, choices: Sequence[Choice]) -> None:
        for choice in choices:
            try:
                number = self._engine.submit(choice.request)
            except ValueError as error:
                self._count(-choice.counts)
                self._tell([(choice, choice.fail(error))])
                continue
            self._choices[number] = choice
            self._numbers[id(choice)] = number

    def _cancel(self, choices: Sequence[Choice]) -> None:
        for choice in choices:
            number = self._numbers.get(id(choice))
            if number is not None:
                self._engine.cancel(number)
                choice.over = True
                self._forget(number)

    def _step(self) -> None:
        started = time.perf_counter()
        events = self._engine.step()
        now = time.perf_counter()
        self._watcher.stepped(texts=len(events), seconds=now - started)
        told: list[tuple[Choice, list[Piece]]] = []
        for event in events:
            choice = self._choices[event.request]
            told.append((choice, self._take(choice, event, now)))
        self._tell(told)

    def _take(self, choice: Choice, event: Event, now: float) -> list[Piece]:
        try:
            pieces = choice.take(event)
        except Exception as error:
            LOG.exception("what was written cannot be told")
            pieces = choice.fail(error)
        if event.new:
            self._watcher.wrote(choice, len(event.new), now)
        if choice.over:
            if event.finished is None:
                self._engine.cancel(event.request)
            self._forget(event.request)
        return pieces

    def _forget(self, number: int) -> None:
        choice = self._choices.pop(number)
        del self._numbers[id(choice)]
        self._count(-choice.counts)
        self._watcher.ended(choice, time.perf_counter())

    def _fail_all(self, error: Exception) -> None:
        told = []
        for number, choice in list(self._choices.items()):
            self._engine.cancel(number)
            told.append((choice, choice.fail(error)))
            self._forget(number)
        self._tell(told)

    def _tell(self, told: Sequence[tuple[Choice, list[Piece]]]) -> None:
        """Put pieces into their inboxes, all of a step's at once."""
        ready = [(choice.inbox, piece) for choice, pieces in told for piece in pieces]
        if not ready or self._loop is None:
            return

        def deliver() -> None:
            for inbox, piece in ready:
                inbox.put_nowait(piece)

        try:
            self._loop.call_soon_threadsafe(deliver)
        except RuntimeError:  # the loop was closed, and nobody reads any more
            self._stopped = True
