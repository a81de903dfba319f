"""How sure a mean over few seeds, and a difference over the same test items, can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ensue.evaluate.statistics import student_quantile

RESAMPLES, AT_ONCE = 4000, 250


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its 95% interval."""

    mean: float
    low: float
    high: float


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean and Student's t interval; of one seed, which has none, from minus to plus infinity."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, -math.inf, math.inf)
    half = student_quantile(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def paired_difference(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> Interval:
    """The mean of first - second, both (S, N): what each of S seeds got right of the same N items.

    Items and seeds are drawn anew with replacement, each by itself (a two-way bootstrap, which is rather too wide than
    too narrow: Owen 2007), and the interval is that of the percentiles. Few seeds still make it an estimate.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)  # (S, N)
    seeds, items = difference.shape
    draw = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES // AT_ONCE):
        of_items = difference[:, draw.integers(items, size=(AT_ONCE, items))].mean(2)  # (S, AT_ONCE)
        of_seeds = draw.multinomial(seeds, np.full(seeds, 1 / seeds), size=AT_ONCE) / seeds  # (AT_ONCE, S)
        drawn.append((of_items.T * of_seeds).sum(1))
    low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5])
    return Interval(float(difference.mean()), float(low), float(high))
