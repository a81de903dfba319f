"""Intervals against scipy's, and against what is known of made-up results."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ensue.recipes.studies.intervals import over_seeds, paired_difference


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-6))
def test_the_interval_over_seeds_is_scipys(values: list[float]) -> None:
    found = over_seeds(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((float(np.mean(values)), low, high), rel=1e-9, abs=1e-9)


def test_one_seed_has_no_interval() -> None:
    assert over_seeds([0.5]).high == math.inf


def test_equal_results_differ_by_nothing() -> None:
    both = np.random.default_rng(0).integers(0, 2, (3, 50))
    found = paired_difference(both, both)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)
    other = paired_difference(both, 1 - both)
    back = paired_difference(1 - both, both)
    assert other.mean == -back.mean


def test_one_seed_is_the_bootstrap_over_items() -> None:
    draw = np.random.default_rng(1)
    first, second = draw.integers(0, 2, (2, 1, 400)).astype(float)
    found = paired_difference(first, second)
    difference = (first - second)[0]
    error = difference.std() / math.sqrt(len(difference))
    assert found.mean == pytest.approx(difference.mean())
    assert found.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.1 * error)
    assert found == paired_difference(first, second)  # drawn the same each time


def test_seeds_that_disagree_make_it_wide() -> None:
    items = np.random.default_rng(2).random((1, 2000))
    agreed = np.repeat(items < 0.6, 4, axis=0)
    swing = np.concatenate([items < share for share in (0.4, 0.5, 0.7, 0.8)])
    base = np.repeat(items < 0.55, 4, axis=0)
    narrow, wide = paired_difference(agreed, base), paired_difference(swing, base)
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert narrow.low > 0 > wide.low
