"""The engine: at each step, one pass over the next tokens of every request that is going."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ensue.generate.engine.choosing import Choice, choose_tokens, tell
from ensue.generate.engine.drafts import Drafter
from ensue.generate.engine.groups import GroupedPages, Lease
from ensue.generate.engine.pages import PAGE
from ensue.generate.engine.passes import Passes, Tokens
from ensue.generate.engine.requests import Event, Finish, Request, Told
from ensue.generate.screen import Greatest


@dataclass
class _Going:
    """A request that has pages: `tokens` are its prompt and what was written, `held` of them are in the pages."""

    number: int
    request: Request
    tokens: list[int]
    lease: Lease
    slot: int
    held: int
    drafted: list[int] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    @property
    def made(self) -> int:
        return len(self.tokens) - len(self.request.tokens)


@dataclass(frozen=True)
class _Span:
    """The tokens of one request in a pass, from place `start` on, and those of them whose logits are asked for."""

    going: _Going
    ids: list[int]
    start: int
    wanted: range


class Engine:
    """Continuous batching over a fixed number of pages.

    A request begins once there are pages for its prompt and all it may write, so that nothing that has begun is ever
    thrown out; those that wait begin in order, but for ones that wait for a shared beginning to be computed. Long
    prompts are read in pieces, beside the next tokens of the others. What a request gets does not depend on what else
    is going on.
    """

    def __init__(
        self,
        passes: Passes,
        *,
        vocabulary: int | None = None,
        most: int = 64,
        pass_tokens: int = 256,
        drafter: Drafter | None = None,
    ) -> None:
        """Ids from `vocabulary` on are never chosen; at most `most` requests share a pass of about `pass_tokens`
        tokens."""
        self.passes, self.pool = passes, GroupedPages(passes.groups, passes.pages, span=pass_tokens)
        self.vocabulary = vocabulary or passes.config.vocab
        self.most, self.pass_tokens, self.drafter = most, pass_tokens, drafter
        self._waiting: deque[tuple[int, Request]] = deque()
        self._going: dict[int, _Going] = {}
        self._slots = list(range(most - 1, -1, -1))
        longest = -(-passes.config.context // PAGE)
        self._tables = [torch.zeros(most, longest, dtype=torch.int32) for _ in passes.groups]
        self._next = 0
        self.reused_tokens = self.read_tokens = self.drafted_tokens = self.accepted_tokens = 0
        self.pass_seconds = self.choosing_seconds = 0.0

    @property
    def waiting(self) -> int:
        """Requests that have not begun."""
        return len(self._waiting)

    @property
    def going(self) -> int:
        """Requests that have."""
        return len(self._going)

    def submit(self, request: Request) -> int:
        """Take up a request; its number, by which events name it.

        Raises ValueError as `check` does.
        """
        self.check(request)
        number, self._next = self._next, self._next + 1
        self._waiting.append((number, request))
        return number

    def check(self, request: Request) -> None:
        """Whether a request can be taken up at all; any thread may ask.

        Raises ValueError for a prompt that is empty, has an unknown token, or does not fit with what it may write.
        """
        _check(request, self.passes.config.vocab, self.passes.config.context)
        if not self.pool.can_ever_hold(_length(request)):
            raise ValueError(f"{_length(request):,} tokens are more than the whole cache; give it more memory.")

    def cancel(self, number: int) -> None:
        """Forget a request; its pages are free at once. One that is not there any more is no error."""
        self._waiting = deque(pair for pair in self._waiting if pair[0] != number)
        going = self._going.pop(number, None)
        if going is not None:
            self._leave(going)

    def step(self) -> list[Event]:
        """Run one pass, and tell what came of it; nothing where there is nothing to do."""
        self._admit()
        spans = self._plan()
        if not spans:
            return []
        ids = [token for span in spans for token in span.ids]
        places = [span.start + i for span in spans for i in range(len(span.ids))]
        rows = [span.going.slot for span in spans for _ in span.ids]
        wanted: list[int] = []
        first = 0
        for span in spans:
            wanted.extend(first + i for i in span.wanted)
            first += len(span.ids)
        counts = [span.going.request.greatest for span in spans for _ in span.wanted]
        start = time.perf_counter()
        _, logits = self.passes.run(Tokens(ids, places, rows), self._tables, wanted, Greatest(counts, self.vocabulary))
        self.pass_seconds += time.perf_counter() - start
        self.read_tokens += len(ids)
        return self._take(spans, logits)

    def run(self, requests: Sequence[Request]) -> list[list[Told]]:
        """The new tokens of each request, all of them served to their end."""
        numbers = {self.submit(request): place for place, request in enumerate(requests)}
        new: list[list[Told]] = [[] for _ in requests]
        while numbers.keys() & (self._going.keys() | {number for number, _ in self._waiting}):
            for event in self.step():
                new[numbers[event.request]].extend(event.new)
        return new

    def _admit(self) -> None:
        """Begin the requests that wait, as far as there are slots and pages."""
        held_back: list[tuple[int, Request]] = []
        while self._waiting and self._slots:
            number, request = self._waiting[0]
            beginning, length = request.tokens[: request.asked_from + 1], _length(request)
            if self.pool.is_pending(beginning, length):
                held_back.append(self._waiting.popleft())
                continue
            lease = self.pool.lend(beginning, length, reuse=not request.of_prompt)
            if lease is None:
                break
            self.pool.announce(lease, request.tokens)
            self._waiting.popleft()
            self._begin(number, request, lease)
        self._waiting.extendleft(reversed(held_back))

    def _begin(self, number: int, request: Request, lease: Lease) -> None:
        slot = self._slots.pop()
        for group, table in enumerate(self._tables):
            row = lease.row(group, _length(request))
            table[slot, : len(row)] = torch.tensor(row, dtype=torch.int32)
        self.reused_tokens += lease.shared
        self._going[number] = _Going(number, request, list(request.tokens), lease, slot, lease.shared)

    def _plan(self) -> list[_Span]:
        """The next token of every request that writes, with guesses at what follows; then pieces of prompts."""
        writing = [going for going in self._going.values() if len(going.tokens) - going.held == 1 and going.made]
        self._draft(writing)
        spans = []
        for going in writing:
            ids = [*going.tokens[going.held :], *going.drafted]
            spans.append(_Span(going, ids, going.held, range(len(ids))))
        room = max(1, self.pass_tokens - sum(len(span.ids) for span in spans))
        busy = {going.number for going in writing}
        for going in self._going.values():
            if going.number in busy or room <= 0:
                continue
            ids = going.tokens[going.held : going.held + room]
            room -= len(ids)
            wanted = range(min(len(ids), max(0, going.request.asked_from - going.held)), len(ids))
            spans.append(_Span(going, ids, going.held, wanted))
        return spans

    def _draft(self, writing: Sequence[_Going]) -> None:
        if self.drafter is None or not writing:
            return
        room = max(0, self.pass_tokens - len(writing)) // len(writing)
        limits = [min(room, going.request.most - going.made - 1) for going in writing]
        guesses = self.drafter.guess([going.tokens for going in writing], limits)
        for going, guess in zip(writing, guesses, strict=True):
            going.drafted = [token for token in guess if token < self.vocabulary]

    def _take(self, spans: Sequence[_Span], logits: Tensor) -> list[Event]:
        """Choose what comes next wherever a request has read all it has, and tell of it."""
        first = 0
        ends: list[tuple[_Span, Tensor]] = []
        events: list[Event] = []
        for span in spans:
            rows = logits[first : first + len(span.wanted)]
            first += len(span.wanted)
            going = span.going
            going.held += len(span.ids) - len(going.drafted)
            self.pool.finish(going.lease, going.held)
            told = self._tell_prompt(span, rows)
            ready = going.held == len(going.tokens)
            if ready and going.request.most:
                ends.append((span, rows))
            finished: Finish | None = "length" if ready and not going.request.most else None
            if told or finished:
                events.append(Event(going.number, prompt=told, finished=finished))
            if finished:
                self._end(going)
        start = time.perf_counter()
        written = self._write(ends)
        self.choosing_seconds += time.perf_counter() - start
        return [*events, *written]

    def _write(self, ends: Sequence[tuple[_Span, Tensor]]) -> list[Event]:
        """New tokens of requests whose last place has logits: one, and one more for each guess that was right."""
        states = [_Writing(span.going, rows[len(rows) - len(span.going.drafted) - 1 :]) for span, rows in ends]
        going = list(states)
        while going:
            rows = torch.stack([state.row for state in going]) if len(going) > 1 else going[0].row[None]
            choices = [state.choice for state in going]
            tokens = choose_tokens(rows, choices, self.vocabulary)
            for state, told in zip(going, _told(rows, tokens, [state.going.request for state in going]), strict=True):
                state.add(told)
            going = [state for state in going if state.goes_on]
        events = []
        for state in states:
            self.drafted_tokens += len(state.going.drafted)
            self.accepted_tokens += len(state.new) - 1
            state.going.held += len(state.new) - 1
            state.going.drafted = []
            events.append(Event(state.going.number, new=tuple(state.new), finished=state.finished))
            if state.finished is not None:
                self._end(state.going)
        return events

    def _tell_prompt(self, span: _Span, rows: Tensor) -> tuple[Told, ...]:
        request = span.going.request
        first = span.start + span.wanted.start - request.asked_from
        known = request.foretold[first : first + len(span.wanted)]
        start = (Told(request.tokens[0], None),) if request.of_prompt and span.start == 0 else ()
        return (*start, *tell(rows[: len(known)], known, request.likeliest)) if known else start

    def _end(self, going: _Going) -> None:
        """A request is done: what it computed stays, for one that begins alike."""
        del self._going[going.number]
        self.pool.announce(going.lease, going.tokens[: going.held])
        self.pool.finish(going.lease, going.held)
        self._leave(going)

    def _leave(self, going: _Going) -> None:
        self.pool.release(going.lease)
        self._slots.append(going.slot)


class _Writing:
    """A request as its next tokens are chosen, one after the other, as long as its guesses are right."""

    def __init__(self, going: _Going, rows: Tensor) -> None:
        self.going, self._rows = going, rows
        self.new: list[Told] = []
        self.finished: Finish | None = None

    @property
    def row(self) -> Tensor:
        return self._rows[len(self.new)]

    @property
    def choice(self) -> Choice:
        return Choice(self.going.request, self.going.tokens, self.going.made)

    @property
    def goes_on(self) -> bool:
        """Whether the token just added is the one that was guessed, so that what comes after it is known."""
        place, drafted = len(self.new) - 1, self.going.drafted
        return self.finished is None and place < len(drafted) and drafted[place] == self.new[-1].token

    def add(self, told: Told) -> None:
        request = self.going.request
        self.new.append(Told(told.token, told.nats, told.likeliest[: request.likeliest], told.rank))
        self.going.tokens.append(told.token)
        if told.token in request.stop:
            self.finished = "stop"
        elif self.going.made == request.most:
            self.finished = "length"


def _told(rows: Tensor, tokens: Sequence[int], requests: Sequence[Request]) -> list[Told]:
    """What is told of a new token of each request."""
    told = [Told(token, None) for token in tokens]
    scored = [place for place, request in enumerate(requests) if request.scored or request.likeliest]
    if scored:
        most = max(requests[place].likeliest for place in scored)
        known = tell(rows[scored], [tokens[place] for place in scored], most)
        for place, each in zip(scored, known, strict=True):
            told[place] = each
    return told


def _length(request: Request) -> int:
    """Tokens that a request may put into its pages: all but the last one it writes."""
    return len(request.tokens) + max(0, request.most - 1)


def _check(request: Request, vocab: int, context: int) -> None:
    if not request.tokens:
        raise ValueError("the prompt has no tokens; begin it with the tokenizer's end token.")
    if len(request.targets) > len(request.tokens):
        raise ValueError(f"{len(request.targets):,} targets cannot each follow one of {len(request.tokens):,} tokens.")
    known = (*request.tokens, *request.targets)
    if not 0 <= min(known) <= max(known) < vocab:
        raise ValueError(f"the prompt has a token id outside this model's vocabulary of {vocab:,}.")
    if request.most < 0:
        raise ValueError(f"most {request.most} is below 0; say how many tokens to write.")
    if len(request.tokens) + request.most > context:
        raise ValueError(
            f"the prompt has {len(request.tokens):,} tokens and up to {request.most:,} are to be written, more "
            f"than this model's context of {context:,}. Shorten the prompt, or ask for fewer."
        )
