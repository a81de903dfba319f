"""Attention patterns: who sees whom, said once.

`visible(query, key, head)` works on ints, numpy arrays and tensors alike, by broadcasting; the masks of training and of
the cache are both made from it. Positions count from 0. Sources: GPT-3 (2020) section 2.1; Child et al., Sparse
Transformers (2019), section 4.2 and 4.3.

`parts` says where the visible pairs lie: a few regular sets of pairs, in each of which a query sees one run of keys.
Every visible pair is in exactly one part of its pattern, and a test counts them. Sparse attention is computed part by
part; the cache keeps what the parts can still reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

SetName = Literal["both", "first", "second"]


@dataclass(frozen=True)
class Band:
    """A query and the `reach - 1` positions before it."""

    reach: int


@dataclass(frozen=True)
class Blocks:
    """A query and what comes before it in its own block of `stride` positions."""

    stride: int


@dataclass(frozen=True)
class Columns:
    """What lies `lag`, `lag + 1`, ... times `stride` positions before a query; all, with stride 1 and lag 0."""

    stride: int
    lag: int = 0


@dataclass(frozen=True)
class Summaries:
    """The summary positions before a query: those of earlier blocks and, where `own_block` says so, of its own.

    A block's are its last `summary` positions or, with `spread`, head h's are the h-th run of them from the end.
    """

    stride: int
    summary: int
    spread: bool
    own_block: bool

    @property
    def runs(self) -> int:
        """How many different runs the heads read, in turn."""
        return self.stride // self.summary if self.spread else 1

    def start(self, head: Any) -> Any:
        """Where, counted from a block's first position, the run of `head` begins."""
        return self.stride - self.summary * (head % self.runs + 1)


Part = Band | Blocks | Columns | Summaries


@dataclass(frozen=True)
class Dense:
    """Every position sees itself and all before it (GPT, GPT-2)."""

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Columns(1),)

    def visible(self, query: Any, key: Any, head: Any) -> Any:
        return key <= query


@dataclass(frozen=True)
class Banded:
    """Locally banded: itself and the `window - 1` positions before it (GPT-3's sparse layers; GPT-Neo's local ones)."""

    window: int

    def __post_init__(self) -> None:
        _at_least_one(self, window=self.window)

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Band(self.window),)

    def visible(self, query: Any, key: Any, head: Any) -> Any:
        return (key <= query) & (query - key < self.window)


@dataclass(frozen=True)
class Strided:
    """Sparse Transformer, strided: the last `stride` positions, and every `stride`-th one before.

    `part` picks the first set A(1), the second A(2), or their union in one head ("both"); a model that interleaves them
    lists `Strided(l, "first"), Strided(l, "second")` as its patterns.
    """

    stride: int
    part: SetName = "both"

    def __post_init__(self) -> None:
        _at_least_one(self, stride=self.stride)

    @property
    def parts(self) -> tuple[Part, ...]:
        near = Band(self.stride + 1)
        # The band already holds the first two of a query's column: itself, and the position `stride` before it.
        sets: dict[SetName, tuple[Part, ...]] = {
            "first": (near,),
            "second": (Columns(self.stride),),
            "both": (near, Columns(self.stride, lag=2)),
        }
        return sets[self.part]

    def visible(self, query: Any, key: Any, head: Any) -> Any:
        near = query - key <= self.stride
        column = (query - key) % self.stride == 0
        return (key <= query) & _choose(self.part, near, column)


@dataclass(frozen=True)
class Fixed:
    """Sparse Transformer, fixed: its own block of `stride` positions, and `summary` positions of every block before.

    With `spread`, head h reads the h-th run of `summary` positions counted from each block's end, as the paper
    advises for several heads; without it all heads read the last run. In the second set alone a position also sees
    itself, since a softmax over nothing has no value.
    """

    stride: int
    summary: int
    part: SetName = "both"
    spread: bool = False

    def __post_init__(self) -> None:
        _at_least_one(self, stride=self.stride, summary=self.summary)
        if self.summary > self.stride:
            raise ValueError(
                f"Fixed: summary {self.summary} is longer than its block of {self.stride}; make it smaller."
            )

    @property
    def parts(self) -> tuple[Part, ...]:
        own = Blocks(self.stride)
        before = Summaries(self.stride, self.summary, self.spread, own_block=self.part == "second")
        sets: dict[SetName, tuple[Part, ...]] = {"first": (own,), "second": (Band(1), before), "both": (own, before)}
        return sets[self.part]

    def visible(self, query: Any, key: Any, head: Any) -> Any:
        block = query // self.stride == key // self.stride
        run = head % (self.stride // self.summary) if self.spread else 0
        from_end = self.stride - 1 - key % self.stride
        summaries = (from_end // self.summary == run) | (key == query)
        return (key <= query) & _choose(self.part, block, summaries)


@dataclass(frozen=True)
class TwoWay:
    """Every position sees every other (BERT's view); it cannot be cached, since early states depend on later tokens."""

    @property
    def parts(self) -> tuple[Part, ...]:
        raise ValueError("a two-way pattern has no sparse parts; compute it densely.")

    def visible(self, query: Any, key: Any, head: Any) -> Any:
        return (key >= 0) & (query >= 0)


Pattern = Dense | Banded | Strided | Fixed | TwoWay


def _choose(part: SetName, first: Any, second: Any) -> Any:
    return {"first": first, "second": second, "both": first | second}[part]


def _at_least_one(pattern: Pattern, *, summary: int = 1, stride: int = 1, window: int = 1) -> None:
    for name, value in (("summary", summary), ("stride", stride), ("window", window)):
        if value < 1:
            raise ValueError(f"{type(pattern).__name__}: {name} must be at least 1, not {value}.")
