"""How often each token follows each other one in a shard: all that a model of one token's context can learn from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ensue.tokens.batch import BigramBatch
from ensue.tokens.shards import Shard

# Legend: V vocabulary.

TOKENS_AT_ONCE = 1 << 24


class BigramStream:
    """Every step is the whole table of bigram counts of shards, `rows` first tokens at a time. Memory is V x V x 4; it
    is twice that while a second shard is counted."""

    def __init__(self, shards: Sequence[tuple[Shard, float]], *, rows: int) -> None:
        """Of the places of several shards, each shard's together count as much as its weight says."""
        self.rows = rows
        counts = count_bigrams(shards[0][0].tokens, shards[0][0].vocab_size)
        if len(shards) > 1:
            places = [len(shard.tokens) for shard, _ in shards]
            counts *= shards[0][1] * sum(places) / places[0]
            for (shard, weight), own in zip(shards[1:], places[1:], strict=True):
                counts += count_bigrams(shard.tokens, shard.vocab_size) * np.float32(weight * sum(places) / own)
        self.counts = torch.from_numpy(counts)

    def batches(self, step: int) -> Iterator[BigramBatch]:
        """The table in pieces, the same for every step; tokens that are never followed by any are left out."""
        first = self.counts.sum(1).nonzero().squeeze(1)
        for start in range(0, len(first), self.rows):
            part = first[start : start + self.rows]
            yield BigramBatch(part, self.counts[part])

    def documents(self, step: int) -> list[Any]:
        """Nothing in particular: all documents are in every step."""
        return []


def count_bigrams(tokens: np.ndarray, vocab: int) -> np.ndarray:
    """(V, V) float32: entry (a, b) counts the places where b follows a. The shard is read in pieces."""
    counts = np.zeros(vocab * vocab, np.int64)
    for start in range(0, len(tokens) - 1, TOKENS_AT_ONCE):
        piece = np.asarray(tokens[start : start + TOKENS_AT_ONCE + 1]).astype(np.int64)
        counts += np.bincount(piece[:-1] * vocab + piece[1:], minlength=vocab * vocab)
    return counts.reshape(vocab, vocab).astype(np.float32)
