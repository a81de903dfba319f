"""What all routes share: the model, the worker that runs it, and how texts are asked for and waited for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.requests import Request, Told
from ensue.model.config import GPTConfig
from ensue.serve.choice import Choice, Piece, join
from ensue.serve.constraining import Constraining
from ensue.serve.errors import ApiError
from ensue.serve.metrics import Metrics
from ensue.serve.settings import ServeSettings
from ensue.serve.worker import Worker
from ensue.tokens.tokenizer import Tokenizer

LONG_TEXT = 20_000
"""Characters from which on a text is encoded in another thread, so that the others need not wait for it."""
READ_AT_ONCE = 512
"""Tokens that are being read for one client at a time, about, where nothing is written."""
LONGEST_WAIT = 60
"""Seconds that a client is told to wait at most when the queue is full."""


@dataclass(frozen=True)
class Service:
    """One model, served: its engine, which alone holds its weights; its tokenizer, and the `path` of the folder that
    both were read from. `created` is when, in seconds since 1970."""

    tokenizer: Tokenizer
    path: Path
    settings: ServeSettings
    engine: Engine
    worker: Worker
    metrics: Metrics
    constraining: Constraining
    created: int

    @property
    def config(self) -> GPTConfig:
        """The model's shape."""
        return self.engine.passes.config

    def check_model(self, name: str | None) -> None:
        """Refuse a model that is not the one served here."""
        if name is not None and name != self.settings.name:
            raise ApiError(
                f"the model {name!r} is not here; this server has {self.settings.name!r}.",
                status=404,
                param="model",
                code="model_not_found",
            )

    def check(self, request: Request, param: str) -> None:
        """Refuse a request that the engine could not take."""
        try:
            self.engine.check(request)
        except ValueError as error:
            code = "context_length_exceeded" if "tokens" in str(error) and "context" in str(error) else None
            raise ApiError(str(error), param=param, code=code) from error

    async def encode(self, text: str, param: str = "prompt") -> list[int]:
        """A text's tokens. Raises ApiError for what is no text."""
        encode = self.tokenizer.encode
        try:
            return encode(text) if len(text) < LONG_TEXT else await asyncio.to_thread(encode, text)
        except ValueError as error:
            raise ApiError(str(error), param=param) from error

    def write(
        self, requests: Sequence[Request], *, stops: Sequence[str] = (), whole: bool = True, tokens: bool = False
    ) -> Writing:
        """Begin to write a text after each of some requests. Raises ApiError where the queue has no room for them."""
        self._check_room(len(requests))
        inbox: asyncio.Queue[Piece] = asyncio.Queue()
        choices = [
            Choice(number, request, self.tokenizer, inbox, stops, whole, tokens)
            for number, request in enumerate(requests)
        ]
        writing = Writing(self.worker, inbox)
        writing.begin(choices)
        return writing

    async def read(self, requests: Sequence[Request]) -> list[tuple[Told, ...]]:
        """What is told of the prompts of requests that write nothing.

        Those that begin alike are given to the engine together, and few at a time, so that what others ask for
        meanwhile need not wait for all; together they take one place in the queue. Raises ApiError where it is full.
        """
        self._check_room(1)
        with self.worker.place():
            return await self._read(requests)

    async def _read(self, requests: Sequence[Request]) -> list[tuple[Told, ...]]:
        writing = Writing(self.worker, asyncio.Queue())
        left = sorted(range(len(requests)), key=lambda number: requests[number].tokens, reverse=True)
        told: dict[int, tuple[Told, ...]] = {}
        costs: dict[int, int] = {}
        going = 0
        before: tuple[int, ...] = ()
        try:
            while len(told) < len(requests):
                while left and going < READ_AT_ONCE:
                    number = left.pop()
                    request = requests[number]
                    beginning = request.tokens[: request.asked_from + 1]
                    costs[number] = len(request.tokens) - (len(beginning) if beginning == before else 0)
                    going, before = going + costs[number], beginning
                    writing.begin([Choice(number, request, self.tokenizer, writing.inbox, counts=False)])
                for piece in await writing.ready():
                    writing.check(piece)
                    told[piece.choice] = piece.prompt
                    going -= costs[piece.choice]
        finally:
            writing.close()
        return [told[number] for number in range(len(requests))]

    async def work(self, pieces: Generator[Any, None, Any]) -> Any:
        """What a generator returns, done piece by piece beside the engine; given up with the task that waits."""
        self._check_room(1)
        return await asyncio.wrap_future(self.worker.work(pieces))

    async def ask(self, question: Callable[[Engine], Any]) -> Any:
        """What the engine says between two steps."""
        return await asyncio.wrap_future(self.worker.thread.ask(question))

    def _check_room(self, texts: int) -> None:
        if not self.worker.alive:
            raise ApiError("the server is going down.", status=503, headers={"Retry-After": "10"})
        before, limit = self.worker.outstanding, self.settings.limits.queue
        if before + texts <= limit:
            return
        rounds = max(1.0, before / self.engine.most)
        seconds = min(LONGEST_WAIT, max(1, math.ceil(rounds * self.metrics.mean_seconds)))
        raise ApiError(
            f"the queue is full: {before} texts are being written or wait, of {limit} at most. Try again in "
            f"{seconds} s.",
            status=429,
            code="queue_full",
            headers={"Retry-After": str(seconds)},
        )


@dataclass(frozen=True)
class Writing:
    """The texts of one request. Close it in any case: what is not finished then is given up."""

    worker: Worker
    inbox: asyncio.Queue[Piece]
    choices: list[Choice] = field(default_factory=list)
    stops: list[Callable[[], None]] = field(default_factory=list)

    def begin(self, choices: Sequence[Choice]) -> None:
        """Begin these as well."""
        self.choices.extend(choices)
        self.stops.append(self.worker.submit(choices))

    async def pieces(self) -> AsyncIterator[Piece]:
        """Pieces of all texts as they come, to the end of the last. Raises ApiError where one cannot be finished.

        Pieces that came while the client was busy with those before are one.
        """
        left = len(self.choices)
        while left:
            for piece in await self.ready():
                self.check(piece)
                left -= piece.finished is not None
                yield piece

    async def ready(self) -> list[Piece]:
        """What is in the inbox, once there is something: a piece for each text."""
        found: dict[int, list[Piece]] = {}
        piece = await self.inbox.get()
        found[piece.choice] = [piece]
        while not self.inbox.empty():
            piece = self.inbox.get_nowait()
            found.setdefault(piece.choice, []).append(piece)
        return [join(pieces) for pieces in found.values()]

    def check(self, piece: Piece) -> None:
        """Raise ApiError for a piece of a text that cannot be finished."""
        if isinstance(piece.error, ValueError):
            raise ApiError(str(piece.error))
        if piece.error is not None:
            raise ApiError("the model failed while it wrote; the server's log says how.", status=500)

    async def all(self) -> list[Piece]:
        """Each text as one piece, in the order of the requests."""
        try:
            return sorted([piece async for piece in self.pieces()], key=lambda piece: piece.choice)
        finally:
            self.close()

    def close(self) -> None:
        """Give up what is not finished."""
        if not all(choice.over for choice in self.choices):
            for stop in self.stops:
                stop()
