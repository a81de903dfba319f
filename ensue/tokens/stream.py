"""Batches from a shard: the batch of step s is a function of (shard, seed, s), on any number of processes.

Legend: B rows, T context, N tokens in the shard, W windows in an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from ensue.core.seeds import seed_for
from ensue.tokens.batch import Batch
from ensue.tokens.shards import DocumentSpan, Shard


@dataclass(frozen=True)
class BatchRamp:
    """Sequences per optimizer step: from `start` linearly to `end` over `steps` steps, as GPT-3's, then `end`."""

    start: int
    end: int
    steps: int = 0

    def __post_init__(self) -> None:
        if self.start < 1 or self.end < 1 or self.steps < 0:
            raise ValueError(f"A batch ramp goes from 1 or more to 1 or more sequences in 0 or more steps, not {self}.")

    def at(self, step: int) -> int:
        """Sequences in this step."""
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * step // self.steps

    def before(self, step: int) -> int:
        """Sequences in all steps before this one."""
        ramped = min(step, self.steps)
        return _ramp_totals(self)[ramped] + (step - ramped) * self.end


class PackedStream:
    """Windows of T tokens in a seeded order, across document borders, in which no token is thrown away.

    The shard is a circle of N tokens. Epoch e cuts it at an offset drawn from the seed into W = ceil(N / T) windows;
    each predicts the T tokens after its first, and those of the last that were already predicted weigh 0. So each token
    is a target exactly once an epoch. The windows' order is a permutation drawn from the seed and e. Step s takes
    the sequences `batch.before(s)` and on; each process takes its contiguous share of them, at most one more than the
    others. All have as many micro-batches, since they meet in each: one that has no row left for it repeats the step's
    first with weight 0.
    """

    def __init__(
        self,
        shard: Shard,
        *,
        context: int,
        batch: BatchRamp,
        micro_batch: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        segments: bool = False,
    ) -> None:
        """`micro_batch` is the most rows of one Batch; `segments` numbers documents, for attention inside each only.

        Raises ValueError for a shard smaller than one context, or a batch that never has a sequence for each process.
        """
        _check_sizes(shard, context, micro_batch)
        if not 0 <= rank < processes:
            raise ValueError(f"There is no process {rank} of {processes}; count from 0.")
        if max(batch.start if batch.steps else 0, batch.end) < processes:
            raise ValueError(
                f"a batch of {batch.end} is too small for {processes} processes that each read a part of it; use "
                f"--batch.end {processes} or more, or at most {batch.end} such processes."
            )
        self.shard, self.context, self.batch, self.micro_batch = shard, context, batch, micro_batch
        self.seed, self.rank, self.processes, self.segments = seed, rank, processes, segments
        self.windows = -(-len(shard.tokens) // context)
        self._tokens = np.asarray(shard.tokens)
        self._orders: dict[int, np.ndarray] = {}

    def batches(self, step: int) -> Iterator[Batch]:
        """The micro-batches of this step for this process, on the CPU."""
        total = self.batch.at(step)
        first, stop = (total * share // self.processes for share in (self.rank, self.rank + 1))
        offsets, windows = self._windows(step)
        starts = range(first, stop, self.micro_batch)
        for low in starts:
            rows = slice(low, min(low + self.micro_batch, stop))
            yield self._read(offsets[rows], windows[rows])
        largest_share = -(-total // self.processes)
        for _ in range(len(starts), -(-largest_share // self.micro_batch)):
            filler = self._read(offsets[:1], windows[:1])
            yield replace(filler, weights=torch.zeros_like(filler.weights))

    def documents(self, step: int) -> list[DocumentSpan]:
        """Every document of which this step, over all processes, reads or predicts a token, in shard order."""
        size = len(self._tokens)
        places: set[int] = set()
        for offset, window in zip(*self._windows(step), strict=True):
            first = offset + window * self.context
            last = offset + min((window + 1) * self.context, size)
            # The circle unrolled twice: the part before its end, and the part after.
            for low, high in ((first, min(last, size - 1)), (max(first, size) - size, last - size)):
                if low <= high:
                    found = np.searchsorted(self.shard.starts, [low, high], side="right")
                    places.update(range(found[0] - 1, found[1]))
        return self.shard.spans(sorted(places))

    def places(self, step: int) -> np.ndarray:
        """(B,) int64: where in the shard each sequence of the step begins, over all processes; it names the sample."""
        offsets, windows = self._windows(step)
        places: np.ndarray = (offsets + windows * self.context) % len(self._tokens)
        return places

    def epoch(self, step: int) -> float:
        """How many times the shard has been gone through before this step."""
        return self.batch.before(step) / self.windows

    def tokens_per_step(self, step: int) -> int:
        """Tokens fed in this step, over all processes."""
        return self.batch.at(step) * self.context

    def _windows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The epoch's offset and the window, of each sequence of the step over all processes: two (B,) int64."""
        first = self.batch.before(step)
        epochs, places = np.divmod(np.arange(first, first + self.batch.at(step)), self.windows)
        offsets, windows = np.empty_like(places), np.empty_like(places)
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            now = epochs == epoch
            offsets[now] = seed_for(self.seed, "offset", epoch) % self.context
            windows[now] = self._order(epoch)[places[now]]
        return offsets, windows

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            for old in [known for known in self._orders if known not in (epoch - 1, epoch + 1)]:
                del self._orders[old]
            generator = np.random.default_rng(seed_for(self.seed, "order", epoch))
            self._orders[epoch] = generator.permutation(np.arange(self.windows, dtype=np.uint32))
        return self._orders[epoch]

    def _read(self, offsets: np.ndarray, windows: np.ndarray) -> Batch:
        size, context = len(self._tokens), self.context
        turned = windows[:, None] * context + np.arange(context + 1)  # (B, T+1) places after the epoch's cut
        places = (offsets[:, None] + turned) % size
        ids = self._tokens[places].astype(np.int64)
        weights = (turned[:, 1:] <= size).astype(np.float32)
        segments = _segments(self.shard, places[:, :-1]) if self.segments else None
        return _batch(ids, weights, segments)


def evaluation_batches(
    shard: Shard,
    *,
    context: int,
    micro_batch: int,
    stride: int | None = None,
    limit_tokens: int | None = None,
    segments: bool = False,
) -> Iterator[Batch]:
    """Batches in which each of the shard's first `limit_tokens` tokens (default: all) is a target once, in order.

    The first window's first input is the end token. Windows start `stride` tokens apart (default: the context) and
    weigh only targets not yet weighed, so a smaller stride gives each token more context at more cost. Raises
    ValueError for sizes that make no sense.
    """
    stride = context if stride is None else stride
    if not 1 <= stride <= context:
        raise ValueError(f"The stride must be from 1 to the context, {context}, not {stride}.")
    if micro_batch < 1 or (limit_tokens is not None and limit_tokens < 1):
        raise ValueError(f"micro_batch and limit_tokens must be 1 or more, not {micro_batch} and {limit_tokens}.")
    tokens = np.asarray(shard.tokens)
    size = len(tokens) if limit_tokens is None else min(limit_tokens, len(tokens))
    windows = 1 + max(0, -(-(size - context) // stride))
    for low in range(0, windows, micro_batch):
        rows = np.arange(low, min(low + micro_batch, windows))
        places = rows[:, None] * stride + np.arange(-1, context)  # (B, T+1), -1 is the end token before all
        inside = (places >= 0) & (places < size)
        ids = np.where(inside, tokens[np.where(inside, places, 0)].astype(np.int64), shard.end)
        scored = np.where(rows == 0, 0, (rows - 1) * stride + context)
        weights = (inside[:, 1:] & (places[:, 1:] >= scored[:, None])).astype(np.float32)
        yield _batch(ids, weights, _segments(shard, places[:, :-1]) if segments else None)


def _batch(ids: np.ndarray, weights: np.ndarray, segments: np.ndarray | None) -> Batch:
    """(B, T+1) ids to a Batch of (B, T)."""
    tokens, targets = np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:])
    numbers = None if segments is None else torch.from_numpy(segments)
    return Batch(torch.from_numpy(tokens), torch.from_numpy(targets), torch.from_numpy(weights), numbers)


def _segments(shard: Shard, places: np.ndarray) -> np.ndarray:
    """(B, T) places in the shard to (B, T) int32 document numbers, from 0 in each row.

    The index of documents decides, not the end token, which in GPT's vocabulary also stands inside documents.
    """
    documents = np.searchsorted(shard.starts, places, side="right")
    begins = (documents[:, 1:] != documents[:, :-1]) | (places[:, 1:] == 0)
    numbers = np.zeros(places.shape, np.int32)
    np.cumsum(begins, axis=1, out=numbers[:, 1:])
    return numbers


def _check_sizes(shard: Shard, context: int, micro_batch: int) -> None:
    size = len(shard.tokens)
    if context < 1 or micro_batch < 1:
        raise ValueError(f"Context and micro-batch must be 1 or more, not {context} and {micro_batch}.")
    if size < context:
        raise ValueError(
            f"{shard.folder} holds {size:,} tokens, less than one context of {context:,}; "
            f"use a context of at most {size:,}, or more text."
        )


@lru_cache(maxsize=16)
def _ramp_totals(ramp: BatchRamp) -> list[int]:
    """`totals[s]`: sequences before step s, for each s up to the ramp's end."""
    totals = [0]
    for step in range(ramp.steps):
        totals.append(totals[-1] + ramp.at(step))
    return totals
