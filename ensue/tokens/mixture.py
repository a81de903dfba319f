"""Sequences of several shards in given proportions, whatever their sizes.

GPT-3 (2020, section 2.2 and table 2.2) samples its sources by weights that are not their sizes: some are gone through
several times while others are not finished.

Legend: B rows, T context, K parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from ensue.core.seeds import seed_for
from ensue.tokens.batch import Batch
from ensue.tokens.packing import Packing
from ensue.tokens.shards import DocumentSpan, Shard
from ensue.tokens.weights import Weight

Found = TypeVar("Found")
LARGEST_BLOCK, SMALLEST_BLOCK, BLOCKS = 8192, 16, 64
"""Sequences of a block; where weights change, a run is cut into BLOCKS of them at least, if they can be so small."""

PLACE_BITS = 48
"""Of the number that names a sample; which part it is from stands above them."""


class Turns:
    """Whose turn it is: for each sequence of a run the part that it comes from, and which of that part's it is.

    The sequences are cut into blocks. Of the c sequences that a part has by the end of a block, c differs from what its
    weights add up to by less than 2, at every block and for any length of the run; what is owed is carried on. Inside
    a block each part's sequences are spread evenly, from a point drawn from the seed and the block. So proportions
    are kept without chance at any scale, while the order looks like none.
    """

    def __init__(self, weights: Sequence[Weight], *, length: int, seed: int) -> None:
        """`length` is how many sequences make a whole run; behind it the last weights go on."""
        self.weights, self.length, self.seed = tuple(weights), max(1, length), seed
        changing = any(len(weight.points) > 1 for weight in weights)
        wanted = self.length // BLOCKS if changing else LARGEST_BLOCK
        self.block = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, 1 << wanted.bit_length() - 1 if wanted else 1))
        self._before = [np.zeros(len(weights), np.int64)]
        self._owed = np.zeros(len(weights))

    def of(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two (B,) int64: the part, and the number among that part's own sequences."""
        numbers = np.asarray(sequences, np.int64)
        parts, own = np.empty_like(numbers), np.empty_like(numbers)
        blocks = numbers // self.block
        for block in np.unique(blocks).tolist():
            now = blocks == block
            order, rank = self._block(block)
            within = numbers[now] - block * self.block
            parts[now], own[now] = order[within], self.before(block)[order[within]] + rank[within]
        return parts, own

    def before(self, block: int) -> np.ndarray:
        """(K,) int64: how many sequences each part has had before this block."""
        while len(self._before) <= block:
            self._before.append(self._before[-1] + self._next_counts())
        before: np.ndarray = self._before[block]
        return before

    def counts(self, sequences: int) -> np.ndarray:
        """(K,) int64: how many of the first so many sequences come from each part."""
        block, rest = divmod(sequences, self.block)
        order, _ = self._block(block)
        counts = self.before(block) + np.bincount(order[:rest], minlength=len(self.weights))
        return np.asarray(counts)

    def _next_counts(self) -> np.ndarray:
        """Each part's sequences in the block behind those that are known."""
        middle = (len(self._before) - 0.5) * self.block / self.length
        weights = np.array([weight.at(min(1.0, middle)) for weight in self.weights])
        due = self._owed + self.block * weights / weights.sum()
        counts: np.ndarray = np.maximum(np.floor(due), 0).astype(np.int64)
        while counts.sum() != self.block:
            step = 1 if counts.sum() < self.block else -1
            counts[np.argmax(np.where(counts + step >= 0, step * (due - counts), -np.inf))] += step
        self._owed = due - counts
        return counts

    def _block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """For each sequence of a block its part, and how many of that part stand before it in the block."""
        counts = self.before(block + 1) - self.before(block)
        first = np.random.default_rng(seed_for(self.seed, "turns", block)).random(len(counts))
        part = np.repeat(np.arange(len(counts)), counts)
        rank = np.concatenate([np.arange(count) for count in counts.tolist()])
        order = np.argsort((rank + first[part]) / counts[part], kind="stable")
        return part[order], rank[order]


@dataclass(frozen=True)
class MixturePart:
    """A shard in a mixture, by name."""

    name: str
    shard: Shard
    weight: Weight


class Mixed:
    """The sequences of a mixture: each is one of one part's, which is packed and walked through by itself.

    A part's own sequences are taken in its own order, without repeats inside an epoch and in another order in the next.
    """

    def __init__(
        self, parts: Sequence[MixturePart], *, context: int, seed: int, length: int, segments: bool = False
    ) -> None:
        """`length` is the sequences of a whole run; `segments` numbers documents, for attention inside each only.

        Raises ValueError naming a part that is smaller than one context.
        """
        self.parts, self.context = tuple(parts), context
        self.turns = Turns([part.weight for part in parts], length=length, seed=seed)
        self.packings = [_packing(part, context, seed, segments) for part in parts]

    def read(self, sequences: np.ndarray) -> Batch:
        parts, own = self.turns.of(sequences)
        whole: Batch | None = None
        for part in np.unique(parts).tolist():
            rows = torch.from_numpy(np.flatnonzero(parts == part))
            batch = self.packings[part].read(own[parts == part])
            whole = _like(batch, len(parts)) if whole is None else whole
            for into, values in zip(_tensors(whole), _tensors(batch), strict=True):
                into[rows] = values
        assert whole is not None
        return whole

    def places(self, sequences: np.ndarray) -> np.ndarray:
        parts, own = self.turns.of(sequences)
        places = parts << PLACE_BITS
        for part in np.unique(parts).tolist():
            places[parts == part] += self.packings[part].places(own[parts == part])
        return places

    def tokens(self, sequences: np.ndarray) -> Iterator[np.ndarray]:
        for part, own in zip(*self.turns.of(sequences), strict=True):
            yield from self.packings[part].tokens(own[None])

    def documents(self, sequences: np.ndarray) -> list[DocumentSpan]:
        found = self._of_each(sequences, Packing.documents)
        return [replace(span, part=name) for name, spans in found for span in spans]

    def tokens_of_documents(self, sequences: np.ndarray) -> list[tuple[DocumentSpan, int]]:
        found = self._of_each(sequences, Packing.tokens_of_documents)
        return [(replace(span, part=name), tokens) for name, pairs in found for span, tokens in pairs]

    def text_tokens(self, span: DocumentSpan) -> np.ndarray:
        names = [part.name for part in self.parts]
        return self.packings[names.index(span.part)].text_tokens(span)

    def _of_each(
        self, sequences: np.ndarray, ask: Callable[[Packing, np.ndarray], list[Found]]
    ) -> Iterator[tuple[str, list[Found]]]:
        """What each part that has some of the sequences says of them, by its name."""
        parts, own = self.turns.of(sequences)
        for part in np.unique(parts).tolist():
            yield self.parts[part].name, ask(self.packings[part], own[parts == part])


def _packing(part: MixturePart, context: int, seed: int, segments: bool) -> Packing:
    try:
        # Two parts of equal size would else be walked through in step.
        return Packing(part.shard, context=context, seed=seed_for(seed, "part", part.name), segments=segments)
    except ValueError as error:
        raise ValueError(f"{part.name}: {error}") from error


def _tensors(batch: Batch) -> list[torch.Tensor]:
    tensors = [batch.tokens, batch.targets, batch.weights]
    return tensors if batch.segments is None else [*tensors, batch.segments]


def _like(batch: Batch, rows: int) -> Batch:
    """An empty batch of so many rows, otherwise like this one."""
    empty = [tensor.new_empty((rows, *tensor.shape[1:])) for tensor in _tensors(batch)]
    return Batch(*empty)
