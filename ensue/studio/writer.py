"""The thread that runs one model: texts to write for any number of pages, and questions between two steps."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.requests import Event, Request

Answer = TypeVar("Answer")
Tell = Callable[[Event | Exception], None]
LOG = logging.getLogger("ensue.studio")


class Writer:
    """Owns an engine. Every method may be called from any thread; what it tells, it tells in its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._told: dict[int, Tell] = {}
        self.closed = False
        self._thread = threading.Thread(target=self._run, name="ensue-studio-writer", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a text is being written."""
        return bool(self._told)

    def write(self, request: Request, tell: Tell) -> Callable[[], None]:
        """Begin to write, and `tell` each event, or the error that ended it; returns what stops it.

        Raises ValueError, as the engine does, for what cannot be written.
        """
        self._engine.check(request)
        numbers: list[int] = []

        def begin() -> None:
            number = self._engine.submit(request)
            numbers.append(number)
            self._told[number] = tell

        def stop() -> None:
            for number in numbers:
                self._engine.cancel(number)
                self._told.pop(number, None)

        self._orders.put(begin)
        return lambda: self._orders.put(stop)

    def ask(self, question: Callable[[], Answer]) -> Future[Answer]:
        """What a function returns that uses the model, run between two steps."""
        future: Future[Answer] = Future()

        def answer() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(question())
            except Exception as error:
                future.set_exception(error)

        self._orders.put(answer)
        return future

    def close(self) -> None:
        """End after the step that is going on."""
        self.closed = True
        self._orders.put(None)

    def _run(self) -> None:
        while self._obey():
            try:
                events = self._engine.step()
            except Exception as error:
                LOG.exception("a step failed; the texts that were being written have ended")
                self._fail(error)
                continue
            for event in events:
                tell = self._told.get(event.request)
                if event.finished is not None:
                    self._told.pop(event.request, None)
                if tell is not None:
                    tell(event)

    def _obey(self) -> bool:
        """Do what was ordered, waiting where there is nothing else to do; False at the end."""
        idle = not (self._engine.going or self._engine.waiting)
        while True:
            try:
                order = self._orders.get(block=idle)
            except queue.Empty:
                return True
            if order is None:
                return False
            order()
            idle = False

    def _fail(self, error: Exception) -> None:
        for number, tell in list(self._told.items()):
            self._engine.cancel(number)
            tell(error)
        self._told.clear()
