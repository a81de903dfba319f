"""How much of a mixture a part is: weights that may change over a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Weight:
    """A part's share of the sequences over a run: straight lines through points (share of the run, weight)."""

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        shares = [share for share, _ in self.points]
        if not shares or shares != sorted(set(shares)) or not 0 <= shares[0] <= shares[-1] <= 1:
            raise ValueError(f"a weight's points go from 0 to 1 of the run, each behind the one before; not {shares}.")
        if min(weight for _, weight in self.points) < 0:
            raise ValueError("a weight is 0 or more.")

    @classmethod
    def constant(cls, weight: float) -> Weight:
        """The same throughout."""
        return cls(((0.0, weight),))

    def at(self, share: float) -> float:
        """The weight when this share of the run is over, before the first point and behind the last as there."""
        shares, weights = zip(*self.points, strict=True)
        return float(np.interp(share, shares, weights))

    @property
    def mean(self) -> float:
        """Over the whole run."""
        shares = sorted({0.0, 1.0, *(share for share, _ in self.points)})
        return sum((high - low) * (self.at(low) + self.at(high)) / 2 for low, high in pairwise(shares))

    def times(self, factor: float) -> Weight:
        """Each weight so many times larger."""
        return Weight(tuple((share, weight * factor) for share, weight in self.points))


def sums_of(weights: Sequence[Weight]) -> list[tuple[float, float]]:
    """(share of the run, sum of the weights) wherever one of them has a point; between these the sum is a line."""
    shares = sorted({0.0, 1.0, *(share for weight in weights for share, _ in weight.points)})
    return [(share, sum(weight.at(share) for weight in weights)) for share in shares]
