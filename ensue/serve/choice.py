"""One text as it is written: tokens in, pieces of certain text out, its end at a stop string."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ensue.generate.constraints import Matching
from ensue.generate.continuation import Continuation
from ensue.generate.engine.requests import Event, Request, Told
from ensue.tokens.stream_decoder import StreamDecoder
from ensue.tokens.tokenizer import Tokenizer

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Placed:
    """A token that was written, and where its text begins among all that was: a count of characters."""

    told: Told
    offset: int


@dataclass(frozen=True)
class Piece:
    """What became certain of one choice: text, the tokens that it is made of, those of the prompt, and its end."""

    choice: int
    text: str = ""
    tokens: tuple[Placed, ...] = ()
    prompt: tuple[Told, ...] = ()
    finished: Finish | None = None
    written: int = 0
    error: Exception | None = None


@dataclass(eq=False)
class Choice:
    """One text that is asked for. The thread that runs the engine feeds it; `inbox` is where its pieces go.

    whole    give all of it at its end instead of piece by piece
    offsets  give its tokens as well
    counts   it takes a place in the queue
    asked, first   when it was asked for, and when its first token came, by `time.perf_counter`
    """

    number: int
    request: Request
    tokenizer: Tokenizer
    inbox: asyncio.Queue[Piece]
    stops: Sequence[str] = ()
    whole: bool = True
    offsets: bool = False
    counts: bool = True
    over: bool = False
    written: int = 0
    asked: float = field(default_factory=time.perf_counter)
    first: float | None = None
    _pieces: list[Piece] = field(default_factory=list)
    _waiting: list[Placed] = field(default_factory=list)
    _sent: int = 0
    _seen: int = 0

    def __post_init__(self) -> None:
        self._text = Continuation(self.tokenizer, self.stops)
        self._plain = StreamDecoder(self.tokenizer)

    def take(self, event: Event) -> list[Piece]:
        """The pieces that can be handed out after a step of the engine; `over` says whether more will come."""
        text: list[str] = []
        finished: Finish | None = event.finished
        constraint = self.request.constraint
        if isinstance(constraint, Matching) and constraint.error is not None:
            return self.fail(ValueError(constraint.error))
        for told in event.new:
            self.written += 1
            if told.token in self.request.stop:
                break
            self._place(told)
            text.append(self._text.feed(told.token))
            if self._text.stopped:
                finished = "stop"
                break
        if finished is not None:
            text.append(self._text.finish())
            self.over = True
        return self._hand_out("".join(text), event.prompt, finished)

    def fail(self, error: Exception) -> list[Piece]:
        """The last piece of a text that cannot be finished."""
        self.over = True
        return [Piece(self.number, error=error)]

    def _place(self, told: Told) -> None:
        if self.offsets:
            self._waiting.append(Placed(told, self._seen))
            self._seen += len(self._plain.feed(told.token))

    def _hand_out(self, text: str, prompt: tuple[Told, ...], finished: Finish | None) -> list[Piece]:
        self._sent += len(text)
        certain = sum(placed.offset < self._sent for placed in self._waiting)
        if finished is not None and not self._text.stopped:
            certain = len(self._waiting)
        tokens, self._waiting = tuple(self._waiting[:certain]), self._waiting[certain:]
        if text or tokens or prompt or finished:
            self._pieces.append(Piece(self.number, text, tokens, prompt, finished, self.written))
        if self.whole and finished is None:
            return []
        pieces, self._pieces = self._pieces, []
        return [join(pieces)] if self.whole else pieces


def join(pieces: Sequence[Piece]) -> Piece:
    """Pieces of one text, in order, as one."""
    if len(pieces) == 1:
        return pieces[0]
    return Piece(
        pieces[-1].choice,
        "".join(piece.text for piece in pieces),
        tuple(placed for piece in pieces for placed in piece.tokens),
        tuple(told for piece in pieces for told in piece.prompt),
        pieces[-1].finished,
        pieces[-1].written,
        pieces[-1].error,
    )
