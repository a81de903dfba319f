"""A stream whose place can be moved on, past data that a run goes back from; and what exactly each step read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from ensue.tokens.batch import Batch
from ensue.tokens.shards import DocumentSpan
from ensue.tokens.stream import SequenceStream


class MovedStream:
    """`packed`, of which step s reads what step s + m would, m being the last of `moves` that begins at s or before."""

    def __init__(self, packed: SequenceStream, moves: Sequence[tuple[int, int]] = ()) -> None:
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
        digest = hashlib.sha256()
        for tokens in self.packed.sequences.tokens(self._numbers(step)):
            digest.update(tokens.tobytes())
        return digest.hexdigest()[:16]

    def tokens_of_documents(self, step: int) -> list[tuple[DocumentSpan, int]]:
        """The documents of the step, and how many of the tokens that it reads are each one's."""
        return self.packed.sequences.tokens_of_documents(self._numbers(step))

    def text_tokens(self, span: DocumentSpan) -> np.ndarray:
        """The tokens of a document, without its end token, as they stand there now."""
        return self.packed.sequences.text_tokens(span)

    def _numbers(self, step: int) -> np.ndarray:
        return self.packed.numbers(self.place(step))
