"""One shard as an endless row of sequences, in which no token is thrown away.

Legend: B rows, T context, N tokens in the shard, W windows in an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch

from ensue.core.seeds import seed_for
from ensue.tokens.batch import Batch
from ensue.tokens.shards import DocumentSpan, Shard


class Sequences(Protocol):
    """An endless row of sequences of T tokens, numbered from 0. All take (B,) int64 numbers of some of them."""

    context: int

    def read(self, sequences: np.ndarray) -> Batch:
        """The sequences, on the CPU."""

    def places(self, sequences: np.ndarray) -> np.ndarray:
        """(B,) int64: where each begins; it names the sample."""

    def tokens(self, sequences: np.ndarray) -> Iterator[np.ndarray]:
        """The T + 1 tokens of each, inputs and last target, as they are stored."""

    def documents(self, sequences: np.ndarray) -> list[DocumentSpan]:
        """Every document of which they read or predict a token, in the order of the data."""

    def tokens_of_documents(self, sequences: np.ndarray) -> list[tuple[DocumentSpan, int]]:
        """These documents, and how many of the tokens that are read are each one's."""

    def text_tokens(self, span: DocumentSpan) -> np.ndarray:
        """The tokens of a document without its end token."""


class Packing:
    """Windows of T tokens in a seeded order, across document borders.

    The shard is a circle of N tokens. Epoch e cuts it at an offset drawn from the seed into W = ceil(N / T) windows;
    each predicts the T tokens after its first, and those of the last that were already predicted weigh 0. So each token
    is a target exactly once an epoch. The windows' order is a permutation drawn from the seed and e.
    """

    def __init__(self, shard: Shard, *, context: int, seed: int, segments: bool = False) -> None:
        """`segments` numbers documents, for attention inside each only.

        Raises ValueError for a shard smaller than one context.
        """
        _check_size(shard, context)
        self.shard, self.context, self.seed, self.segments = shard, context, seed, segments
        self.windows = -(-len(shard.tokens) // context)
        self._tokens = np.asarray(shard.tokens)
        self._orders: dict[int, np.ndarray] = {}

    def read(self, sequences: np.ndarray) -> Batch:
        offsets, windows = self._windows(sequences)
        turned = windows[:, None] * self.context + np.arange(self.context + 1)  # (B, T+1) places after the epoch's cut
        places = (offsets[:, None] + turned) % len(self._tokens)
        ids = self._tokens[places].astype(np.int64)
        weights = (turned[:, 1:] <= len(self._tokens)).astype(np.float32)
        segments = number_documents(self.shard, places[:, :-1]) if self.segments else None
        return as_batch(ids, weights, segments)

    def places(self, sequences: np.ndarray) -> np.ndarray:
        offsets, windows = self._windows(sequences)
        places: np.ndarray = (offsets + windows * self.context) % len(self._tokens)
        return places

    def tokens(self, sequences: np.ndarray) -> Iterator[np.ndarray]:
        size = len(self._tokens)
        for first in self.places(sequences).tolist():
            stop = first + self.context + 1
            piece = self._tokens[first : min(stop, size)]
            yield np.concatenate([piece, self._tokens[: stop - size]]) if stop > size else piece

    def documents(self, sequences: np.ndarray) -> list[DocumentSpan]:
        size = len(self._tokens)
        places: set[int] = set()
        for offset, window in zip(*self._windows(sequences), strict=True):
            first = offset + window * self.context
            last = offset + min((window + 1) * self.context, size)
            # The circle unrolled twice: the part before its end, and the part after.
            for low, high in ((first, min(last, size - 1)), (max(first, size) - size, last - size)):
                if low <= high:
                    found = np.searchsorted(self.shard.starts, [low, high], side="right")
                    places.update(range(found[0] - 1, found[1]))
        return self.shard.spans(sorted(places))

    def tokens_of_documents(self, sequences: np.ndarray) -> list[tuple[DocumentSpan, int]]:
        read = (self.places(sequences)[:, None] + np.arange(self.context)) % len(self._tokens)  # (B, T)
        spans = self.documents(sequences)
        counts = [int(((read >= span.start) & (read < span.stop)).sum()) for span in spans]
        return list(zip(spans, counts, strict=True))

    def text_tokens(self, span: DocumentSpan) -> np.ndarray:
        return self._tokens[span.start : span.stop - 1]

    def _windows(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The epoch's offset and the window of each sequence: two (B,) int64."""
        epochs, places = np.divmod(np.asarray(sequences, np.int64), self.windows)
        offsets, windows = np.empty_like(places), np.empty_like(places)
        for epoch in np.unique(epochs).tolist():
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


def as_batch(ids: np.ndarray, weights: np.ndarray, segments: np.ndarray | None) -> Batch:
    """(B, T+1) ids, (B, T) weights and segments to a Batch of (B, T)."""
    tokens, targets = np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:])
    numbers = None if segments is None else torch.from_numpy(segments)
    return Batch(torch.from_numpy(tokens), torch.from_numpy(targets), torch.from_numpy(weights), numbers)


def number_documents(shard: Shard, places: np.ndarray) -> np.ndarray:
    """(B, T) places in the shard to (B, T) int32 document numbers, from 0 in each row.

    The index of documents decides, not the end token, which in GPT's vocabulary also stands inside documents.
    """
    documents = np.searchsorted(shard.starts, places, side="right")
    begins = (documents[:, 1:] != documents[:, :-1]) | (places[:, 1:] == 0)
    numbers: np.ndarray[Any, np.dtype[np.int32]] = np.zeros(places.shape, np.int32)
    np.cumsum(begins, axis=1, out=numbers[:, 1:])
    return numbers


def _check_size(shard: Shard, context: int) -> None:
    size = len(shard.tokens)
    if context < 1:
        raise ValueError(f"The context must be 1 or more, not {context}.")
    if size < context:
        raise ValueError(
            f"{shard.folder} holds {size:,} tokens, less than one context of {context:,}; "
            f"use a context of at most {size:,}, or more text."
        )
