"""The language-model objective of all three papers: the sum of -log p(token | the tokens before it)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ensue.loss.linear_cross_entropy import linear_cross_entropy
from ensue.loss.types import Loss
from ensue.model.gpt import GPT
from ensue.tokens.batch import Batch


class NextToken:
    """GPT (2018) equation 1, summed over the targets that count. It has no state.

    `states` computes the (B, T, W) hidden states and is the model's own `hidden` unless a compiled one is given.
    """

    def __init__(self, states: Callable[..., Tensor] | None = None) -> None:
        self.states = states

    def count(self, batch: Batch) -> int:
        """Targets that count in this batch."""
        return int(batch.weights.count_nonzero())

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Sum of nats over the counted targets; through the model's own output matrix, never holding all logits."""
        assert isinstance(model, GPT)
        hidden = (self.states or model.hidden)(batch.tokens, segments=batch.segments)  # (B, T, W)
        total = linear_cross_entropy(
            hidden.flatten(0, 1), model.head_weight, batch.targets.flatten(), batch.weights.flatten()
        )
        return Loss(total, self.count(batch))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            raise ValueError(f"the next-token objective has no state, but the checkpoint holds {sorted(state)}.")
