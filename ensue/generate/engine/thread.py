"""A thread that owns an engine: any other hands it requests and questions, and is told what comes of them."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.requests import Event, Request

Result = TypeVar("Result")
AfterStep = Callable[[Sequence[Event], float], None]
LOG = logging.getLogger("ensue.engine")


class Reader(Protocol):
    """Whoever is told what comes of a request, in the engine's thread."""

    def take(self, event: Event) -> bool:
        """Something was read or written; whether there is to be more."""

    def end(self, error: Exception | None) -> None:
        """Nothing more comes: the request is finished, was stopped, or has failed with an error."""


@dataclass
class _Job:
    """Work of another kind, done a piece at a time between the engine's steps."""

    pieces: Generator[Any, None, Any]
    future: Future[Any]

    def advance(self) -> bool:
        """Do a piece; whether more is left."""
        try:
            if not self.future.cancelled():
                next(self.pieces)
                return True
            self.pieces.close()
        except StopIteration as end:
            with contextlib.suppress(InvalidStateError):  # it was given up just now
                self.future.set_result(end.value)
        except Exception as error:
            with contextlib.suppress(InvalidStateError):
                self.future.set_exception(error)
        return False


class EngineThread:
    """Runs an engine from `start` to `stop`; every method may be called from anywhere."""

    def __init__(self, engine: Engine, *, after_step: AfterStep = lambda events, seconds: None) -> None:
        """`after_step` is told, in the thread, what each step brought and how long it took, once all readers know it;
        also after orders that need no step, with no seconds."""
        self.engine, self._after_step = engine, after_step
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._readers: dict[int, Reader] = {}
        self._jobs: list[_Job] = []
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="ensue-engine", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it takes work."""
        return self._thread.is_alive() and not self._stopped

    @property
    def busy(self) -> bool:
        """Whether a request is being served."""
        return bool(self._readers)

    def start(self) -> None:
        """Begin with what was ordered."""
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """End after the step that is going on; what was not finished is forgotten."""
        self._stopped = True
        self._orders.put(None)
        if wait and self._thread.is_alive():
            self._thread.join()

    def write(self, requests: Sequence[tuple[Request, Reader]]) -> Callable[[], None]:
        """Begin to serve some requests; returns what stops those that are not over.

        Raises ValueError, as the engine's `check` does, for what cannot be served.
        """
        for request, _ in requests:
            self.engine.check(request)
        numbers: list[int] = []

        def begin() -> None:
            for request, reader in requests:
                number = self.engine.submit(request)
                numbers.append(number)
                self._readers[number] = reader

        def stop() -> None:
            for number in numbers:
                if number in self._readers:
                    self.engine.cancel(number)
                    self._end(number)

        self._orders.put(begin)
        return lambda: self._orders.put(stop)

    def work(self, pieces: Generator[Any, None, Result]) -> Future[Result]:
        """Do what a generator does, a piece of it after each step; the future has what it returns."""
        future: Future[Result] = Future()
        self._orders.put(lambda: self._jobs.append(_Job(pieces, future)))
        return future

    def ask(self, question: Callable[[Engine], Result]) -> Future[Result]:
        """What the engine says between two steps."""

        def pieces() -> Generator[None, None, Result]:
            return question(self.engine)
            yield

        return self.work(pieces())

    def _run(self) -> None:
        while self._obey():
            self._after_step(*self._step())
            if self._jobs:
                job = self._jobs.pop(0)
                if job.advance():
                    self._jobs.append(job)
        for job in self._jobs:
            job.future.cancel()

    def _obey(self) -> bool:
        """Do what was ordered, waiting for it where there is nothing else to do; False at the end."""
        idle = not (self.engine.going or self.engine.waiting or self._jobs)
        while True:
            try:
                order = self._orders.get(block=idle)
            except queue.Empty:
                return True
            if order is None:
                return False
            order()
            idle = False

    def _step(self) -> tuple[Sequence[Event], float]:
        """Run the engine once, if it has anything to do, and tell the readers; what came of it, and its seconds."""
        if not (self.engine.going or self.engine.waiting):
            return (), 0.0
        started = time.perf_counter()
        try:
            events = self.engine.step()
        except Exception as error:
            LOG.exception("a step of the engine failed; the texts that were being written have ended")
            for number in list(self._readers):
                self.engine.cancel(number)
                self._end(number, error)
            return (), 0.0
        seconds = time.perf_counter() - started
        for event in events:
            self._tell(event)
        return events, seconds

    def _tell(self, event: Event) -> None:
        error = None
        try:
            more = self._readers[event.request].take(event)
        except Exception as raised:
            LOG.exception("what was written cannot be told")
            more, error = False, raised
        if event.finished is None and not more:
            self.engine.cancel(event.request)
        if event.finished is not None or not more:
            self._end(event.request, error)

    def _end(self, number: int, error: Exception | None = None) -> None:
        self._readers.pop(number).end(error)
