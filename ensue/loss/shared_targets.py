"""An objective whose targets several processes share out: each runs the whole forward pass and scores its own part.

So do the processes of a tensor group (`ensue.train.parallel_layers`), which have every token's state in common: the
output matrix, the largest product of a small model, is then multiplied once in the group and not by each of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ensue.loss.types import Loss, Objective
from ensue.tokens.batch import Batch


class SharedTargets:
    """`objective` on part `part` of `parts` of each batch's targets, in order; the parts' losses add up to its."""

    def __init__(self, objective: Objective[Batch], *, part: int, parts: int) -> None:
        self._objective, self._part, self._parts = objective, part, parts

    def count(self, batch: Batch) -> int:
        return self._objective.count(self._own(batch))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        return self._objective.loss(model, self._own(batch))

    def state_dict(self) -> dict[str, Any]:
        return self._objective.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._objective.load_state_dict(state)

    def _own(self, batch: Batch) -> Batch:
        """The batch in which the other parts' targets weigh 0."""
        size = batch.weights.numel()
        places = torch.arange(size, device=batch.weights.device).view_as(batch.weights)
        first, stop = (size * part // self._parts for part in (self._part, self._part + 1))
        return replace(batch, weights=batch.weights * ((places >= first) & (places < stop)))
