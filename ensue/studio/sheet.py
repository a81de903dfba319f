"""One column of the Write page: a model, the tree of what it wrote, and what it is writing now."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ensue.generate.engine.requests import Event, Request, Told
from ensue.generate.settings import Sampling
from ensue.studio.branches import Branches, Node
from ensue.studio.models import OpenModel
from ensue.studio.problems import Problem
from ensue.studio.token_texts import Shown, show_tokens, texts_of

LIKELIEST = 8
"""Alternatives that are shown for each token."""


@dataclass(frozen=True)
class WriteSettings:
    """How a text is gone on with; `top_k` 0 and `top_p` 1 leave all tokens in."""

    temperature: float = 0.8
    top_k: int = 50
    top_p: float = 1.0
    most: int = 60
    seed: int = 0

    @property
    def sampling(self) -> Sampling:
        """For the engine."""
        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k or None,
            top_p=None if self.top_p >= 1 else self.top_p,
        )


class Sheet:
    """Shows a text and goes on with it. Used by one page, in its thread; what the model tells comes through a queue."""

    def __init__(self) -> None:
        self.model: OpenModel | None = None
        self.branches = Branches()
        self.problem: Problem | None = None
        self._told: queue.SimpleQueue[tuple[int, Event | Exception]] = queue.SimpleQueue()
        self._stop: Callable[[], None] | None = None
        self._turn = 0
        self._prompt_read = 0
        self._written = 0
        self._changed_from = 0
        self._began = self._lasted = 0.0

    @property
    def writing(self) -> bool:
        return self._stop is not None

    @property
    def speed(self) -> float:
        """Tokens a second of what is being written, or was written last."""
        seconds = time.perf_counter() - self._began if self.writing else self._lasted
        return self._written / seconds if seconds > 0 else 0.0

    @property
    def bits(self) -> float | None:
        """Bits a token of the text that is shown, those whose probability is known."""
        known = [node.told.nats for node in self.branches.path() if node.told.nats is not None]
        return -sum(known) / len(known) / 0.6931471805599453 if known else None

    def use(self, model: OpenModel) -> None:
        """Write with this model. The tree stays where its tokens mean the same."""
        self.stop()
        old = self.model
        if old is not None and old.tokenizer.fingerprint != model.tokenizer.fingerprint:
            self.branches = Branches()
        elif old is not None and old.key != model.key:
            self.branches = _prompt_only(self.branches)
        self.model = model

    def begin(self, prompt: str, settings: WriteSettings) -> None:
        """Go on from a prompt; the same one again gives another text."""
        assert self.model is not None
        self.stop()
        tokenizer = self.model.tokenizer
        try:
            tokens = tokenizer.encode(prompt) or [tokenizer.end]
        except ValueError as error:
            self.problem = Problem("write.not_text", (str(error),))
            return
        room = self.model.context
        if len(tokens) >= room:
            self.problem = Problem("write.too_long", (f"{len(tokens):,}", f"{room:,}"))
            return
        self.branches.follow(tokens)
        self._write(settings)

    def go_on(self, settings: WriteSettings, *, place: int | None = None) -> None:
        """Go on from the end, or from a place of the text that is shown."""
        self.stop()
        if place is not None:
            self.branches.cut(place)
        if self.branches.tip is not self.branches.root:
            self._write(settings)

    def pick(self, place: int, token: int, settings: WriteSettings) -> None:
        """Put another token in a place and go on from there; a branch that is there already is only shown."""
        self.stop()
        if self.branches.pick(place, token):
            self._write(settings)

    def show(self, node: Node) -> None:
        """Show another branch."""
        self.stop()
        self.branches.show(node)

    def back(self) -> None:
        """Show what was shown before."""
        self.stop()
        self.branches.back()

    def stop(self) -> None:
        """Write no more. What comes all the same is of an earlier turn, and dropped."""
        self._changed_from = 0
        if self._stop is not None:
            self._stop()
            self._end()

    def collect(self) -> bool:
        """Take in what the model has told; whether anything was."""
        changed = False
        while not self._told.empty():
            turn, told = self._told.get()
            if turn != self._turn or not self.writing:
                continue
            changed = True
            if isinstance(told, Exception):
                self.problem = Problem("write.failed", (str(told),))
                self._end()
            else:
                self._take(told)
        return changed

    def shown(self, first: int = 0) -> list[Shown]:
        """The text as a page shows it, from place `first` on."""
        return [] if self.model is None else show_tokens(self.model.tokenizer, self.branches.path(), first)

    def changes(self) -> int:
        """The first place that has changed since this was asked last."""
        first, self._changed_from = self._changed_from, len(self.branches.path())
        return first

    def text(self) -> str:
        """The text that is shown, prompt included."""
        return "" if self.model is None else "".join(texts_of(self.model.tokenizer, self.branches.tokens))

    def branch_texts(self, most: int) -> list[tuple[Node, str, bool]]:
        """Each branch: its last node, its text from where it first forked, and whether it is shown."""
        if self.model is None:
            return []
        told = []
        for end in self.branches.ends()[-most:]:
            nodes = _path(end)
            forks = [place for place, node in enumerate(nodes) if node.forked]
            texts = texts_of(self.model.tokenizer, [node.told.token for node in nodes])
            told.append((end, "".join(texts[forks[-1] if forks else 0 :]).strip(), end is self.branches.tip))
        return told

    def _write(self, settings: WriteSettings) -> None:
        assert self.model is not None
        self.problem = None
        path = self.branches.path()
        tokens = tuple(node.told.token for node in path)
        room = self.model.context - len(tokens)
        if room < 1:
            self.problem = Problem("write.full", (f"{self.model.context:,}",))
            return
        unread = any(node.told.nats is None for node in path[1:])
        request = Request(
            tokens=tokens,
            most=min(settings.most, room),
            sampling=settings.sampling,
            seed=settings.seed + len(self.branches.tip.children),  # the same place again gives another text
            stop=frozenset({self.model.tokenizer.end}),
            likeliest=LIKELIEST,
            of_prompt=unread,
        )
        self._turn += 1
        self._prompt_read = self._written = 0
        self._began = time.perf_counter()
        try:
            self._stop = self.model.thread.write([(request, _Turn(self._turn, self._told))])
        except ValueError as error:
            self.problem = Problem("write.failed", (str(error),))

    def _take(self, event: Event) -> None:
        assert self.model is not None
        for told in event.prompt:
            self.branches.learn(self._prompt_read, self._known(told))
            self._changed_from = min(self._changed_from, self._prompt_read)
            self._prompt_read += 1
        for told in event.new:
            if not self._written:
                self._began = time.perf_counter()  # the prompt's time is not the writing's
            self._written += 1
            self.branches.add(self._known(told))
        if event.finished is not None:
            self._end()

    def _known(self, told: Told) -> Told:
        """Without ids that stand for nothing: a model's table may be larger than its vocabulary."""
        assert self.model is not None
        size = self.model.tokenizer.vocab_size
        return replace(told, likeliest=tuple(pair for pair in told.likeliest if pair[0] < size))

    def _end(self) -> None:
        self._lasted = time.perf_counter() - self._began
        self._stop = None


@dataclass(frozen=True)
class _Turn:
    """Passes on what the model tells of one turn, from the model's thread to the page's."""

    number: int
    told: queue.SimpleQueue[tuple[int, Event | Exception]]

    def take(self, event: Event) -> bool:
        self.told.put((self.number, event))
        return True

    def end(self, error: Exception | None) -> None:
        if error is not None:
            self.told.put((self.number, error))


def _path(end: Node) -> list[Node]:
    nodes: list[Node] = []
    node = end
    while node.parent is not None:
        nodes.append(node)
        node = node.parent
    return nodes[::-1]


def _prompt_only(branches: Branches) -> Branches:
    """A new tree with the prompt that is shown: probabilities are another model's from there on."""
    prompt: Sequence[Node] = [node for node in branches.path() if node.made == "prompt"]
    fresh = Branches()
    if prompt:
        fresh.follow([node.told.token for node in prompt])
    return fresh
