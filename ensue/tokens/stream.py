"""Batches from shards: the batch of step s is a function of (data, seed, s), on any number of processes.

Legend: B rows, T context.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from ensue.tokens.batch import Batch
from ensue.tokens.packing import Packing, Sequences, as_batch, number_documents
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


class SequenceStream:
    """Steps of an endless row of sequences, shared out over processes.

    Step s takes the sequences `batch.before(s)` and on; each process takes its contiguous share of them, at most one
    more than the others. All have as many micro-batches, since they meet in each: one that has no row left for it
    repeats the step's first with weight 0.
    """

    def __init__(
        self, sequences: Sequences, *, batch: BatchRamp, micro_batch: int, rank: int = 0, processes: int = 1
    ) -> None:
        """`micro_batch` is the most rows of one Batch.

        Raises ValueError for a batch that never has a sequence for each process.
        """
        if micro_batch < 1:
            raise ValueError(f"The micro-batch must be 1 or more, not {micro_batch}.")
        if not 0 <= rank < processes:
            raise ValueError(f"There is no process {rank} of {processes}; count from 0.")
        if max(batch.start if batch.steps else 0, batch.end) < processes:
            raise ValueError(
                f"a batch of {batch.end} is too small for {processes} processes that each read a part of it; use "
                f"--batch.end {processes} or more, or at most {batch.end} such processes."
            )
        self.sequences = sequences
        self.batch, self.micro_batch, self.rank, self.processes = batch, micro_batch, rank, processes

    def batches(self, step: int) -> Iterator[Batch]:
        """The micro-batches of this step for this process, on the CPU."""
        total, all_of_it = self.batch.at(step), self.numbers(step)
        first, stop = (total * share // self.processes for share in (self.rank, self.rank + 1))
        starts = range(first, stop, self.micro_batch)
        for low in starts:
            yield self.sequences.read(all_of_it[low : min(low + self.micro_batch, stop)])
        largest_share = -(-total // self.processes)
        for _ in range(len(starts), -(-largest_share // self.micro_batch)):
            filler = self.sequences.read(all_of_it[:1])
            yield replace(filler, weights=torch.zeros_like(filler.weights))

    def documents(self, step: int) -> list[DocumentSpan]:
        """Every document of which this step, over all processes, reads or predicts a token, in the data's order."""
        return self.sequences.documents(self.numbers(step))

    def places(self, step: int) -> np.ndarray:
        """(B,) int64: where each sequence of the step begins, over all processes; it names the sample."""
        return self.sequences.places(self.numbers(step))

    def numbers(self, step: int) -> np.ndarray:
        """(B,) int64: which sequences the step takes, over all processes."""
        first = self.batch.before(step)
        return np.arange(first, first + self.batch.at(step))


class PackedStream(SequenceStream):
    """The steps of one shard, whose sequences are those of its `Packing`: no token is thrown away."""

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
        packing = Packing(shard, context=context, seed=seed, segments=segments)
        super().__init__(packing, batch=batch, micro_batch=micro_batch, rank=rank, processes=processes)
        self.shard, self.windows = shard, packing.windows

    def epoch(self, step: int) -> float:
        """How many times the shard has been gone through before this step."""
        return self.batch.before(step) / self.windows


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
        yield as_batch(ids, weights, number_documents(shard, places[:, :-1]) if segments else None)


@lru_cache(maxsize=16)
def _ramp_totals(ramp: BatchRamp) -> list[int]:
    """`totals[s]`: sequences before step s, for each s up to the ramp's end."""
    totals = [0]
    for step in range(ramp.steps):
        totals.append(totals[-1] + ramp.at(step))
    return totals
