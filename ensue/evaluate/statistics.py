"""How sure a number is: standard errors, bootstrap intervals, and two models compared on the same items."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from ensue.core.seeds import seed_for
from ensue.evaluate.task import Metric

RESAMPLES = 2000
"""Of a mean; for other numbers, which are computed anew of each, SLOW_RESAMPLES."""

SLOW_RESAMPLES = 500
LEVEL = 0.95
ALL_ALIKE = "all resampled sets of items agree, which tells nothing of how sure the number is"
FEW_HAVE_ONE = "most resampled sets of items have no such number"
CELLS_AT_ONCE = 1 << 22

Totals = Callable[[np.ndarray], np.ndarray]
"""From (R, N) places of resampled items, the number of each resample, (R,) float64."""


@dataclass(frozen=True)
class Estimate:
    """A metric's number over n items, its standard error, and its interval of 95% from resampled items.

    What cannot be told is None, and `reason` says why.
    """

    value: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True)
class Difference:
    """The second model's number minus the first's, on the same n items; its error and interval come from pairs.

    wins, losses  items on which the second is better, or worse; None where a value is no number
    p             of the exact McNemar test for values of 0 and 1: a difference as large by chance alone
    """

    first: float | None
    second: float | None
    difference: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    n: int
    wins: int | None = None
    losses: int | None = None
    p: float | None = None
    reason: str | None = None


def estimate(metric: Metric, values: Sequence[Any], *, seed: int = 0) -> Estimate:
    """A metric's number and how sure it is, over the values that are not None.

    The standard error of a mean is s / sqrt(n); of another number, the spread over resampled items. Where resamples all
    agree there is no interval, but for chances that are all 0 or all 1, where it is the exact binomial one.
    """
    counted = [value for value in values if value is not None]
    number, reason = _number(metric, counted)
    if number is None:
        return Estimate(None, None, None, None, len(counted), reason)
    if len(counted) < 2:
        return Estimate(number, None, None, None, len(counted), "one item tells nothing of how sure the number is")
    if metric.total is None and set(counted) in ({0}, {1}):
        low, high = (1 - _rarest(len(counted)), 1.0) if number else (0.0, _rarest(len(counted)))
        return Estimate(number, 0.0, low, high, len(counted))
    drawn, reason = _resampled(_totals(metric, counted), len(counted), metric, seed)
    if drawn is None:
        return Estimate(number, None, None, None, len(counted), reason)
    low, high = _interval(drawn, len(counted))
    error = _error_of_mean(np.asarray(counted, float)) if metric.total is None else float(drawn.std(ddof=1))
    return Estimate(number, error, low, high, len(counted))


def compare(metric: Metric, first: Sequence[Any], second: Sequence[Any], *, seed: int = 0) -> Difference:
    """Two models' values of the same items, in the same order; items without a value of both are left out.

    Where the models never differ on chances of 0 and 1, the interval is what they may still differ on by Clopper and
    Pearson's bound.
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    ones, twos = [a for a, _ in pairs], [b for _, b in pairs]
    (one, reason), (two, other) = _number(metric, ones), _number(metric, twos)
    if one is None or two is None:
        return Difference(one, two, None, None, None, None, len(pairs), reason=reason or other)
    wins, losses, p = _tally(metric, ones, twos)
    if len(pairs) < 2:
        alone = "one item tells nothing of how sure the difference is"
        return Difference(one, two, two - one, None, None, None, len(pairs), wins, losses, p, alone)
    if p is not None and metric.total is None and not wins and not losses:
        edge = _rarest(len(pairs))
        return Difference(one, two, 0.0, 0.0, -edge, edge, len(pairs), wins, losses, p)
    before, after = _totals(metric, ones), _totals(metric, twos)
    drawn, why = _resampled(lambda places: after(places) - before(places), len(pairs), metric, seed)
    if drawn is None:
        return Difference(one, two, two - one, None, None, None, len(pairs), wins, losses, p, why)
    low, high = _interval(drawn, len(pairs))
    apart = np.subtract(twos, ones, dtype=float) if metric.total is None else None
    error = float(drawn.std(ddof=1)) if apart is None else _error_of_mean(apart)
    return Difference(one, two, two - one, error, low, high, len(pairs), wins, losses, p)


def mcnemar(wins: int, losses: int) -> float:
    """The chance of a split at least as uneven if either side were as likely: exact, two-sided (McNemar 1947)."""
    rarer, both = min(wins, losses), wins + losses
    tail, ways = 0, 1
    for count in range(rarer + 1):
        tail += ways
        ways = ways * (both - count) // (count + 1)
    return min(1.0, 2 * tail / 2**both) if both < 1000 else min(1.0, math.exp(math.log(2 * tail) - both * math.log(2)))


def _number(metric: Metric, values: Sequence[Any]) -> tuple[float | None, str | None]:
    """The metric over these values; or None and why not."""
    if not values:
        return None, "no item has a value"
    try:
        number = float(metric.over(values))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        return None, str(error)
    return (number, None) if math.isfinite(number) else (None, f"it is {number} of these items")


def _rarest(size: int) -> float:
    """The most that a chance can be that did not come true once in `size` items (Clopper and Pearson 1934)."""
    return float(1 - ((1 - LEVEL) / 2) ** (1 / size))


def _totals(metric: Metric, values: Sequence[Any]) -> Totals:
    if metric.total is None:
        numbers = np.asarray(values, float)
        return lambda places: np.asarray(numbers[places].mean(1))

    def each(places: np.ndarray) -> np.ndarray:
        found = (_number(metric, [values[place] for place in row])[0] for row in places.tolist())
        return np.array([math.nan if number is None else number for number in found])

    return each


def _resampled(totals: Totals, size: int, metric: Metric, seed: int) -> tuple[np.ndarray | None, str | None]:
    """The number of each resample of as many items, those that have one; or None and why that tells nothing."""
    chance = np.random.default_rng(seed_for(seed, "bootstrap", metric.name))
    count = RESAMPLES if metric.total is None else SLOW_RESAMPLES
    drawn = np.concatenate([totals(places) for places in _places(chance, count, size)])
    drawn = drawn[np.isfinite(drawn)]
    if 2 * len(drawn) <= count:
        return None, FEW_HAVE_ONE
    return (None, ALL_ALIKE) if np.ptp(drawn) == 0 else (drawn, None)


def _places(chance: np.random.Generator, count: int, size: int) -> Iterator[np.ndarray]:
    step = max(1, CELLS_AT_ONCE // size)
    for first in range(0, count, step):
        yield chance.integers(0, size, (min(step, count - first), size))


def _interval(drawn: np.ndarray, size: int) -> tuple[float, float]:
    """The middle 95% of resampled numbers, made wider for few items (Hesterberg 2015, section 5.3).

    Percentiles alone are too narrow for them: resamples spread by sqrt((n - 1) / n) of what they should, and the
    quantiles should be Student's.
    """
    quantile = student_quantile(size - 1) * math.sqrt(size / (size - 1))
    outside = 100 * NormalDist().cdf(-quantile)
    low, high = np.percentile(drawn, (outside, 100 - outside))
    return float(low), float(high)


def student_quantile(freedom: int) -> float:
    """What Student's t with so many degrees of freedom stays within, either side, with a chance of 95%.

    With t = sqrt(freedom) tan(angle), that chance is the integral of cos^(freedom - 1) from 0 to the angle over the one
    to pi / 2, which is a beta function (Abramowitz and Stegun 1964, 26.7.1 and 6.2.1). The angle is found by halving.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    low, high = 0.0, math.pi / 2
    while low < (angle := (low + high) / 2) < high:
        area = angle / 2 * float(weights @ np.cos(angle / 2 * (nodes + 1)) ** (freedom - 1))
        low, high = (angle, high) if area < LEVEL * whole else (low, angle)
    return math.sqrt(freedom) * math.tan(angle)


def _error_of_mean(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def _tally(metric: Metric, ones: Sequence[Any], twos: Sequence[Any]) -> tuple[int | None, int | None, float | None]:
    """Items on which the second is better and worse, and McNemar's p where all values are 0 or 1."""
    if not all(isinstance(value, (int, float)) for value in (*ones, *twos)):
        return None, None, None
    sign = 1 if metric.higher_is_better else -1
    apart = sign * np.subtract(twos, ones, dtype=float)
    wins, losses = int((apart > 0).sum()), int((apart < 0).sum())
    return wins, losses, mcnemar(wins, losses) if {*ones, *twos} <= {0, 1} else None
