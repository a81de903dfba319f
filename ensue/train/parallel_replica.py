"""What the engine asks of a model however it is spread over processes, and the plain case: one process has it whole.

Losses and gradients are sums over all processes, never averages of averages: the engine divides once, by the global
count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from ensue.loss.types import Loss, Objective
from ensue.train.parallel import Place


class Replica(Protocol):
    """What the engine asks of the model, however it is spread."""

    place: Place
    averaged_over: int
    """The gradients come averaged over so many processes (as DDP has it), and not summed, where this is not 1."""

    def loss(self, batch: Any, *, last: bool) -> Loss:
        """The objective's loss on this process's batch. `last` says that the step's gradients are complete with it."""

    def total(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes."""

    def complete(self) -> None:
        """Called when every backward pass of the step is done: makes the gradients those of all processes."""

    def norm(self, gradients: Sequence[Tensor]) -> float:
        """The Euclidean norm of all gradients, over all pieces."""

    def forget_gathered(self) -> None:
        """Let go of whole tensors that a forward pass without a backward pass has gathered."""


class Whole:
    """What holds wherever a process has the whole model, and so all of each gradient once they are complete."""

    def complete(self) -> None:
        pass

    def norm(self, gradients: Sequence[Tensor]) -> float:
        return float(nn.utils.get_total_norm(gradients))

    def forget_gathered(self) -> None:
        pass


class Alone(Whole):
    """The whole model in the only process."""

    def __init__(self, model: nn.Module, objective: Objective[Any]) -> None:
        self.place, self.averaged_over = Place(), 1
        self._model, self._objective = model, objective

    def loss(self, batch: Any, *, last: bool) -> Loss:
        return self._objective.loss(self._model, batch)

    def total(self, values: Sequence[float]) -> list[float]:
        return list(values)
