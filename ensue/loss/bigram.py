"""Fitting token embedding and output matrix to bigram counts: a start from which the blocks only add context.

The sum over the whole table is the next-token loss of the model without its blocks over every token of the corpus, at
the cost of one step on as many tokens as the vocabulary has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import float64, nn

from ensue.loss.types import Loss
from ensue.model.gpt import GPT
from ensue.tokens.batch import BigramBatch


class Bigram:
    """-sum over (a, b) of count(a, b) x log p(b | a), with p from the model whose blocks are left out. No state."""

    def count(self, batch: BigramBatch) -> int:
        """Pairs counted in these rows."""
        return int(batch.counts.sum(dtype=float64))

    def loss(self, model: nn.Module, batch: BigramBatch) -> Loss:
        """Sum of nats over the pairs of these rows."""
        assert isinstance(model, GPT)
        states = model.token_embedding(batch.first)  # (R, W)
        if model.final_norm is not None:
            states = model.final_norm(states)
        logits = model.logits(states).float()  # (R, V)
        total = (batch.counts.sum(1) * logits.logsumexp(-1)).sum() - (batch.counts * logits).sum()
        return Loss(total, self.count(batch))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert not state
