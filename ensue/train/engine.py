"""The engine: one optimizer step at a time, the same for every objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ensue.core.device import autocast
from ensue.core.gradients import gradients_given_at_once
from ensue.core.seeds import seed_for
from ensue.loss.types import Objective
from ensue.train.optimizer import Optimizer
from ensue.train.parallel_replica import Alone, Replica
from ensue.train.schedule import Schedule


class Stream(Protocol):
    """Where batches come from: both are functions of the step alone, so nothing has to be remembered."""

    def batches(self, step: int) -> Iterator[Any]:
        """The micro-batches of one optimizer step, for this process; as many of them for every process."""

    def documents(self, step: int) -> list[Any]:
        """What was in them, over all processes."""


@dataclass(frozen=True)
class Step:
    """What one optimizer step did. `index` counts finished steps; means are per counted term, in nats for `loss`.

    `skipped` says why no weight was changed, where none was.
    """

    index: int
    means: Mapping[str, float]
    grad_norm: float
    lr: float
    tokens: int
    seconds: float
    skipped: str | None = None

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
    """Everything a step needs. `schedule` may be replaced between steps.

    `judge` is asked with (index, loss, norm of the gradient) before each update, and may say why there should be none.
    `replica` is how the model is spread over processes; unless said, this one has all of it and is alone.
    """

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
    judge: Callable[[int, float, float], str | None] | None = None
    replica: Replica | None = None

    def step(self, index: int) -> Step:
        """Run step `index` (counted from 0) and return what it did. Raises Diverged before any weight changes."""
        start = time.perf_counter()
        replica = self.replica or Alone(self.model, self.objective)
        readers, reader = replica.place.readers, replica.place.reader
        batches = [batch.to(self.device) for batch in self.stream.batches(index)]
        counts = replica.total([sum(self.objective.count(batch) for batch in batches), len(batches)])
        count = int(counts[0])
        assert count > 0
        assert counts[1] == len(batches) * replica.place.processes
        self.model.train()
        self.optimizer.zero_grad()
        sums: dict[str, Tensor] = {}
        for place, batch in enumerate(batches):
            torch.manual_seed(seed_for(self.seed, "dropout", index, place * readers + reader))
            with autocast(self.device, self.precision):
                loss = replica.loss(batch, last=place == len(batches) - 1)
            with gradients_given_at_once(isinstance(replica, Alone)):
                loss.total.backward()  # type: ignore[no-untyped-call]
            for name, value in {"loss": loss.total, **loss.named}.items():
                sums[name] = sums.get(name, 0.0) + value.detach().double()
        totals = replica.total([float(value) for value in sums.values()])
        means = {name: total / count for name, total in zip(sums, totals, strict=True)}
        replica.complete()
        grad_norm = self._divide_and_clip(count, replica)
        skipped = self.judge(index, means["loss"], grad_norm) if self.judge is not None else None
        self.optimizer.set_factor(self.schedule.factor(index))
        if skipped is None:
            for reading, what in ((means["loss"], "the loss"), (grad_norm, "the gradient")):
                if not math.isfinite(reading):
                    raise Diverged(index, what, self.stream.documents(index))
            self.optimizer.step()
            self.tokens += count
        return Step(
            index=index + 1,
            means=means,
            grad_norm=grad_norm,
            lr=self.optimizer.parts[0].param_groups[0]["lr"],
            tokens=self.tokens,
            seconds=time.perf_counter() - start,
            skipped=skipped,
        )

    def _divide_and_clip(self, count: int, replica: Replica) -> float:
        """Make the gradients of the sum those of the mean, cut to norm `clip`; return their norm before the cut."""
        for parameter in self.model.parameters():
            if parameter.grad is not None and parameter.grad.is_sparse:  # rows looked up, and nothing dense to add to
                parameter.grad = parameter.grad.to_dense()
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        scale = replica.averaged_over / count
        norm = replica.norm(gradients) * replica.averaged_over / count
        if self.clip is not None and norm > self.clip:
            scale *= self.clip / (norm + 1e-6)
        for gradient in gradients:
            gradient.mul_(scale)
        return norm
