"""The learning rate as a function of the step, between 0 and 1 times each group's own rate.

GPT (2018) 4.1: linear warm-up, cosine to 0. GPT-3 (2020) B: linear warm-up, cosine to 10%, then constant. The trapezoid
(warm-up, flat, linear decay) has no length until its decay begins, so it can be fitted to a time limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """`warmup` steps up from 0, then down to `floor` at `steps`, or at `decay_steps` where that is set, and flat after.

    A trapezoid is flat until its last `decay` share.
    """

    shape: Literal["cosine", "linear", "trapezoid", "constant"]
    warmup: int
    steps: int
    floor: float = 0.0
    decay: float = 0.4
    decay_steps: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= self.steps:
            raise ValueError(
                f"warm-up of {self.warmup} steps does not fit a schedule of {self.steps}; set schedule.warmup lower."
            )
        if self.end < self.warmup:
            raise ValueError(
                f"schedule.decay_steps {self.end} lies within the warm-up of {self.warmup}; set it higher."
            )
        if not 0 <= self.floor < 1:
            raise ValueError(f"schedule.floor must be at least 0 and below 1, not {self.floor}; or use shape constant.")
        if self.decay <= 0:
            raise ValueError(f"schedule.decay must be above 0, not {self.decay}; or use shape constant.")

    def factor(self, step: int) -> float:
        """The multiplier of step `step`, counted from 0. The first update is warm-up's first part, never 0."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        if step >= self.end:
            return 1.0 if self.shape == "constant" else self.floor
        done = (step - self.warmup) / max(1, self.end - self.warmup)
        return self.floor + (1.0 - self.floor) * self._shape(done)

    @property
    def end(self) -> int:
        """The first step at the floor."""
        return self.decay_steps if self.decay_steps is not None else self.steps

    @property
    def decay_start(self) -> int:
        """The last step at the full rate: until then a trapezoid's length may still change."""
        if self.shape != "trapezoid":
            return self.warmup
        return self.warmup + math.floor((1 - self.decay) * (self.end - self.warmup))

    def refitted(self, step: int, steps: int) -> Schedule:
        """This schedule ending at `steps` instead, seen from `step`.

        A trapezoid's past is kept and its rate does not jump: before its decay it keeps its decay's share; within it,
        it goes straight from here to the new end. The other shapes are stretched, so that theirs moves a little.
        """
        steps = max(steps, step + 1)
        stretched = None if self.decay_steps is None else round(self.decay_steps * steps / self.steps)
        if self.shape == "trapezoid":
            stretched = None
        warmup = min(self.warmup, steps if stretched is None else stretched)
        moved = replace(self, steps=steps, warmup=warmup, decay_steps=stretched)
        if self.shape != "trapezoid" or step < min(self.decay_start, moved.decay_start):
            return moved
        height = (self.factor(step) - self.floor) / (1.0 - self.floor)
        share = (steps - step) / max(height, 1e-6) / max(1, steps - moved.warmup)
        return replace(moved, decay=share)

    def _shape(self, done: float) -> float:
        if self.shape == "constant":
            return 1.0
        if self.shape == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        if self.shape == "linear":
            return 1.0 - done
        return min(1.0, (1.0 - done) / self.decay)
