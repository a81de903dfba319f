"""A stream whose place can be moved on, past data that a run goes back from; and what exactly each step read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from ensue.tokens.batch import Batch
from ensue.tokens.shards import DocumentSpan
from ensue.tokens.stream import PackedStream


class MovedStream:
    """`packed`, of which step s reads what step s + m would, m being the last of `moves` that begins at s or before."""

    def __init__(self, packed: PackedStream, moves: Sequence[tuple[int, int]] = ()) -> None:
        """`moves` are pairs (first step, m), in order."""
        self.packed = packed
        self.moves = list(moves)

    def move(self, step: int, further: int) -> None:
        """From `step` on, read what is `further` steps behind what it would have read."""
        moved = self.place(step) - step + further
        self.moves = [*(pair for pair in self.moves if pair[0] < step), (step, moved)]

    def place(self, step: int) -> int:
        """The step of `packed` that this step reads."""
        return step + next((moved for first, moved in reversed(self.moves) if first <= step), 0)

    def batches(self, step: int) -> Iterator[Batch]:
        return self.packed.batches(self.place(step))

    def documents(self, step: int) -> list[DocumentSpan]:
        return self.packed.documents(self.place(step))

    def places(self, step: int) -> np.ndarray:
        return self.packed.places(self.place(step))

    def samples_digest(self, step: int) -> str:
        """Hex digits that name the step's samples, in order, over all processes."""
        return hashlib.sha256(self.places(step).astype("<i8").tobytes()).hexdigest()[:16]

    def tokens_digest(self, step: int) -> str:
        """Hex digits of the very tokens that stand there now."""
        tokens, size = self.packed.shard.tokens, len(self.packed.shard.tokens)
        digest = hashlib.sha256()
        for first in self.places(step).tolist():
            stop = first + self.packed.context + 1
            digest.update(tokens[first : min(stop, size)].tobytes())
            if stop > size:
                digest.update(tokens[: stop - size].tobytes())
        return digest.hexdigest()[:16]

    def tokens_of_documents(self, step: int) -> list[tuple[DocumentSpan, int]]:
        """The documents of the step, and how many of the tokens that it reads are each one's."""
        size = len(self.packed.shard.tokens)
        read = (self.places(step)[:, None] + np.arange(self.packed.context)) % size  # (B, T)
        spans = self.documents(step)
        counts = [int(((read >= span.start) & (read < span.stop)).sum()) for span in spans]
        return list(zip(spans, counts, strict=True))
