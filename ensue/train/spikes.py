"""Steps whose loss or gradient stands far above the last ones: found by robust statistics, always the same way."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

NORMAL = 1.4826
"""Times the median absolute deviation is the standard deviation, for a normal distribution."""

LEAST_DEVIATION = 0.01
"""Of the median: so that a loss that hardly moves makes no spike of its own noise."""


@dataclass(frozen=True)
class SpikeConfig:
    """What to do about a step whose loss or gradient norm is more than `deviations` robust standard deviations above
    the median of the last `window` steps, or no number at all.

    `off` (the default: no paper of the line does anything) trains on it, and ends the run where it is no number. `skip`
    leaves the weights as they are. `rollback` goes back to the newest regular checkpoint and on with the data behind
    the spike (PaLM 2022, section 5.1). No step is judged before half a window has been seen. `most` interventions in a
    row mean that it is no spike: a skipping run then takes the new level as it is, a rolling-back one ends.
    """

    action: Literal["off", "skip", "rollback"] = "off"
    window: int = 128
    deviations: float = 10.0
    most: int = 8

    def __post_init__(self) -> None:
        if self.window < 8 or self.deviations <= 0 or self.most < 1:
            raise ValueError(
                f"spikes need a window of 8 or more, deviations above 0 and most of 1 or more, not {self.window}, "
                f"{self.deviations} and {self.most}; try --spikes.window 128 --spikes.deviations 10 --spikes.most 8."
            )


class Spike(Exception):
    """Step `index` (counted from 0) is a spike that the run is to go back from. No weight was changed."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"step {index + 1}: {reason}")
        self.index = index
        self.reason = reason


class SpikeGuard:
    """Judges each step by those before it. Its state is saved, so that a continued run judges as it would have."""

    def __init__(self, config: SpikeConfig) -> None:
        self.config = config
        self._seen: deque[tuple[float, float]] = deque(maxlen=config.window)
        self._in_a_row = 0

    def judge(self, loss: float, grad_norm: float) -> str | None:
        """Why this step is a spike, or None: it is then one of those that later ones are judged by."""
        reason = self._outlier("loss", loss, 0) or self._outlier("gradient norm", grad_norm, 1)
        if reason is not None:
            self._in_a_row += 1
            if self._in_a_row <= self.config.most:
                return reason
            self._seen.clear()
        self._in_a_row = 0
        if math.isfinite(loss) and math.isfinite(grad_norm):
            self._seen.append((loss, grad_norm))
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"seen": [list(pair) for pair in self._seen], "in_a_row": self._in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = deque(((pair[0], pair[1]) for pair in state["seen"]), maxlen=self.config.window)
        self._in_a_row = state["in_a_row"]

    def _outlier(self, what: str, value: float, place: int) -> str | None:
        if not math.isfinite(value):
            return f"{what} is not a finite number"
        if len(self._seen) < self.config.window // 2:
            return None
        values = [pair[place] for pair in self._seen]
        middle = median(values)
        spread = NORMAL * median(abs(each - middle) for each in values)
        limit = middle + self.config.deviations * max(spread, LEAST_DEVIATION * abs(middle))
        return f"{what} {value:.4g} is above {limit:.4g}" if value > limit else None
