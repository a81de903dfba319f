"""The engine: one optimizer step at a time, the same for every objective."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ensue.core.device import autocast
from ensue.core.seeds import seed_for
from ensue.loss.types import Objective
from ensue.train.optimizer import Optimizer
from ensue.train.schedule import Schedule


class Stream(Protocol):
    """Where batches come from: both are functions of the step alone, so nothing has to be remembered."""

    def batches(self, step: int) -> Iterator[Any]:
        """The micro-batches of one optimizer step, for this process."""

    def documents(self, step: int) -> list[Any]:
        """What was in them, over all processes."""


@dataclass(frozen=True)
class Step:
    """What one optimizer step did. `index` counts finished steps; means are per counted term, in nats for `loss`."""

    index: int
    means: Mapping[str, float]
    grad_norm: float
    lr: float
    tokens: int
    seconds: float

    @property
    def loss(self) -> float:
        return self.means["loss"]


class Diverged(Exception):
    """The loss or the gradient is no longer a number. The weights are still those of before the step."""

    def __init__(self, step: int, what: str, documents: list[Any]) -> None:
        super().__init__(f"step {step}: {what} is not finite")
        self.step = step
        self.what = what
        self.documents = documents


@dataclass
class Engine:
    """Everything a step needs. `schedule` may be replaced between steps."""

    model: nn.Module
    objective: Objective[Any]
    stream: Stream
    optimizer: Optimizer
    schedule: Schedule
    clip: float | None
    device: torch.device
    precision: str
    seed: int
    tokens: int = field(default=0)

    def step(self, index: int) -> Step:
        """Run step `index` (counted from 0) and return what it did. Raises Diverged before any weight changes."""
        start = time.perf_counter()
        batches = [batch.to(self.device) for batch in self.stream.batches(index)]
        count = sum(self.objective.count(batch) for batch in batches)
        assert count > 0
        self.model.train()
        self.optimizer.zero_grad()
        sums: dict[str, Tensor] = {}
        for place, batch in enumerate(batches):
            torch.manual_seed(seed_for(self.seed, "dropout", index, place))
            with autocast(self.device, self.precision):
                loss = self.objective.loss(self.model, batch)
            loss.total.backward()  # type: ignore[no-untyped-call]
            for name, value in {"loss": loss.total, **loss.named}.items():
                sums[name] = sums.get(name, 0.0) + value.detach().double()
        means = {name: float(value) / count for name, value in sums.items()}
        if not math.isfinite(means["loss"]):
            raise Diverged(index, "the loss", self.stream.documents(index))
        grad_norm = self._divide_and_clip(count)
        if not math.isfinite(grad_norm):
            raise Diverged(index, "the gradient", self.stream.documents(index))
        factor = self.schedule.factor(index)
        self.optimizer.set_factor(factor)
        self.optimizer.step()
        self.tokens += count
        return Step(
            index=index + 1,
            means=means,
            grad_norm=grad_norm,
            lr=self.optimizer.parts[0].param_groups[0]["lr"],
            tokens=self.tokens,
            seconds=time.perf_counter() - start,
        )

    def _divide_and_clip(self, count: int) -> float:
        """Make the gradients of the sum those of the mean, cut to norm `clip`; return their norm before the cut."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients)) / count
        scale = 1.0 / count
        if self.clip is not None and norm > self.clip:
            scale *= self.clip / (norm + 1e-6)
        for gradient in gradients:
            gradient.mul_(scale)
        return norm
