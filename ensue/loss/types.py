"""The loss is a sum over what it counts; the engine divides once, by the count of the whole step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn


@dataclass(frozen=True)
class Loss:
    """total: a scalar SUM in nats, to be differentiated; count: what was summed; named: further sums, for logging."""

    total: Tensor
    count: int
    named: Mapping[str, Tensor] = field(default_factory=dict)


BatchT = TypeVar("BatchT", contravariant=True)


class Objective(Protocol[BatchT]):
    """What a step optimises. Its state, if it has any, is saved with the checkpoint."""

    def count(self, batch: BatchT) -> int:
        """How many terms the loss of this batch sums, known before any forward pass."""

    def loss(self, model: nn.Module, batch: BatchT) -> Loss:
        """The sum of the loss over this batch."""

    def state_dict(self) -> dict[str, Any]:
        """What must be saved for an exact resume, as JSON values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""
