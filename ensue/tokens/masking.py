"""BERT's masked tokens: some are hidden from the model, which is to foretell them from both sides.

Legend: B rows, T context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ensue.core.seeds import seed_for
from ensue.tokens.batch import Batch
from ensue.tokens.packing import Sequences
from ensue.tokens.shards import DocumentSpan

HIDDEN, ANOTHER = 0.8, 0.1
"""Of the chosen tokens, how many become the mask token and how many a random one; the rest stay (Devlin et al. 2019,
section 3.1)."""


@dataclass(frozen=True)
class Masking:
    """`share` of a row's tokens is to be foretold (BERT's is 0.15); `mask` is the mask token's id, and ids below it are
    the text's."""

    share: float
    mask: int

    def hide(self, batch: Batch, seeds: Sequence[int]) -> Batch:
        """`batch` with its tokens, of which those of weight 0 are never chosen, for targets; a seed for each row.

        Chosen are the same number in each row, at least one: the share of those that may be, rounded.
        """
        tokens, allowed = batch.tokens.numpy(), batch.weights.numpy() > 0
        chosen = np.zeros(tokens.shape, bool)
        seen = tokens.copy()
        for row, seed in enumerate(seeds):
            draw = np.random.default_rng(seed)
            places = np.flatnonzero(allowed[row])
            count = min(len(places), max(1, round(self.share * len(places))))
            places = draw.permutation(places)[:count]
            fates = draw.random(count)
            others = draw.integers(self.mask, size=count)
            kept = np.where(fates < HIDDEN + ANOTHER, others, tokens[row, places])
            seen[row, places] = np.where(fates < HIDDEN, self.mask, kept)
            chosen[row, places] = True
        weights = torch.from_numpy(chosen.astype(np.float32))
        return Batch(torch.from_numpy(seen), batch.tokens, weights, batch.segments)


class Masked:
    """`sequences` with tokens hidden, anew in each epoch; which ones depends on the seed and the sequence's number."""

    def __init__(self, sequences: Sequences, masking: Masking, *, seed: int) -> None:
        self.sequences, self.context = sequences, sequences.context
        self.masking, self.seed = masking, seed

    def read(self, sequences: np.ndarray) -> Batch:
        """The sequences, with the original token of each place for its target, and weight 1 where it is chosen."""
        seeds = [seed_for(self.seed, "mask", number) for number in np.asarray(sequences).tolist()]
        # A sequence's inputs that an epoch has had before are the ones whose next tokens it has had before.
        return self.masking.hide(self.sequences.read(sequences), seeds)

    def places(self, sequences: np.ndarray) -> np.ndarray:
        return self.sequences.places(sequences)

    def tokens(self, sequences: np.ndarray) -> Iterator[np.ndarray]:
        return self.sequences.tokens(sequences)

    def documents(self, sequences: np.ndarray) -> list[DocumentSpan]:
        return self.sequences.documents(sequences)

    def tokens_of_documents(self, sequences: np.ndarray) -> list[tuple[DocumentSpan, int]]:
        return self.sequences.tokens_of_documents(sequences)

    def text_tokens(self, span: DocumentSpan) -> np.ndarray:
        return self.sequences.text_tokens(span)
