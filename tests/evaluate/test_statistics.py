"""Errors, intervals and tests against scipy, and by simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ensue.evaluate.statistics import ALL_ALIKE, Difference, compare, estimate, mcnemar, student_quantile
from ensue.evaluate.task import Metric

stats = pytest.importorskip("scipy.stats")


def nothing(item: Any, outcome: Any) -> None:
    return None


MEAN = Metric("mean", nothing)
LOSS = Metric("loss", nothing, higher_is_better=False)
PERPLEXITY = Metric(
    "perplexity",
    nothing,
    total=lambda values: math.exp(sum(nats for nats, _ in values) / sum(words for _, words in values)),
    higher_is_better=False,
)


def test_the_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 200).tolist()
    found = estimate(MEAN, [*values, None])
    assert found.n == 200
    assert found.value == pytest.approx(np.mean(values))
    assert found.standard_error == pytest.approx(stats.sem(values))


def test_the_interval_is_scipys() -> None:
    values = np.random.default_rng(0).exponential(2, 400)
    found = estimate(MEAN, values.tolist())
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999, rng=1).confidence_interval
    assert found.low == pytest.approx(theirs.low, abs=0.1 * (theirs.high - theirs.low))
    assert found.high == pytest.approx(theirs.high, abs=0.1 * (theirs.high - theirs.low))


@pytest.mark.parametrize(("size", "chance"), [(12, 0.5), (40, 0.3), (150, 0.8)])
def test_how_often_the_interval_holds_the_truth(size: int, chance: float) -> None:
    draws = (np.random.default_rng(size).random((600, size)) < chance).astype(float)
    found = [estimate(MEAN, row.tolist(), seed=seed) for seed, row in enumerate(draws)]
    holds = np.mean(
        [each.low <= chance <= each.high for each in found if each.low is not None and each.high is not None]
    )
    assert 0.92 <= holds <= 0.985


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 400, 100_000])
def test_students_quantile_is_scipys(freedom: int) -> None:
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_is_not_certainty(value: float) -> None:
    found = estimate(MEAN, [value] * 20)
    theirs = stats.binomtest(int(20 * value), 20).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_models_that_never_differ_may_yet() -> None:
    found = compare(MEAN, [1.0, 0.0] * 50, [1.0, 0.0] * 50)
    most = stats.binomtest(0, 100).proportion_ci(0.95, "exact").high
    assert (found.difference, found.low, found.high) == (0, pytest.approx(-most), pytest.approx(most))
    assert (found.wins, found.losses, found.p) == (0, 0, 1.0)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    for wins in range(12):
        for losses in range(12):
            theirs = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
            assert mcnemar(wins, losses) == pytest.approx(theirs)
    for wins, losses in ((900, 1000), (5000, 5200), (0, 3000)):
        assert mcnemar(wins, losses) == pytest.approx(stats.binomtest(wins, wins + losses).pvalue, rel=1e-6)


def test_a_number_that_is_no_mean() -> None:
    draw = np.random.default_rng(2)
    values = [
        (float(nats), int(words)) for nats, words in zip(draw.gamma(60, 1, 80), draw.integers(10, 30, 80), strict=True)
    ]
    found = estimate(PERPLEXITY, values)
    assert found.value == PERPLEXITY.over(values)
    assert found.low is not None
    assert found.high is not None
    assert found.standard_error is not None
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(4 * found.standard_error, rel=0.15)


def test_paired() -> None:
    draw = np.random.default_rng(3)
    ones = draw.normal(0, 5, 300)
    twos = ones + draw.normal(0.5, 0.5, 300)
    found = compare(MEAN, ones.tolist(), twos.tolist())
    assert found.difference == pytest.approx(np.mean(twos - ones))
    assert found.standard_error == pytest.approx(stats.sem(twos - ones))
    assert found.low is not None
    assert found.high is not None
    assert 0.4 < found.low < found.high < 0.6  # alone, each has an interval of 1.1
    assert found.p is None
    assert (found.wins, found.losses) == (int((twos > ones).sum()), int((twos < ones).sum()))
    turned = compare(LOSS, ones.tolist(), twos.tolist())
    assert (turned.wins, turned.losses) == (found.losses, found.wins)


def test_paired_zeros_and_ones() -> None:
    ones = [1.0] * 50 + [0.0] * 50
    twos = [1.0] * 45 + [0.0] * 5 + [1.0] * 20 + [0.0] * 30
    found = compare(MEAN, ones, twos)
    assert (found.wins, found.losses) == (20, 5)
    assert found.p == pytest.approx(stats.binomtest(5, 25).pvalue)


def test_paired_perplexity() -> None:
    draw = np.random.default_rng(4)
    ones = [(float(nats), 20) for nats in draw.gamma(60, 1, 100)]
    twos = [(nats + 2, words) for nats, words in ones]
    found = compare(PERPLEXITY, ones, twos)
    assert found.difference == PERPLEXITY.over(twos) - PERPLEXITY.over(ones)
    assert found.low is not None
    assert found.low > 0
    assert (found.wins, found.p) == (None, None)


def test_what_cannot_be_told_has_a_reason() -> None:
    def matthews(values: Sequence[Any]) -> float:
        if len({label for label, _ in values}) < 2:
            raise ValueError("all items are of one class, where the correlation means nothing")
        return float(np.corrcoef(np.array(values).T)[0, 1])

    metric = Metric("matthews", nothing, total=matthews)
    found = estimate(metric, [(1, 0), (1, 1), (1, 1)])
    assert (found.value, found.standard_error, found.low) == (None, None, None)
    assert found.reason == "all items are of one class, where the correlation means nothing"
    assert compare(metric, [(1, 0)] * 3, [(1, 1)] * 3).reason == found.reason
    rare = Metric("rare", nothing, total=lambda values: 1.0 if len(set(values)) == 3 else math.nan)
    assert estimate(rare, [1, 2, 3]).reason == "most resampled sets of items have no such number"
    assert estimate(MEAN, [0.5] * 9).reason == compare(MEAN, [0.25] * 9, [0.5] * 9).reason == ALL_ALIKE
    assert estimate(MEAN, [None]).reason == "no item has a value"
    assert estimate(MEAN, [0.5]).reason == "one item tells nothing of how sure the number is"
    assert estimate(Metric("inf", nothing, total=lambda values: math.inf), [1, 2]).reason == "it is inf of these items"
    assert compare(MEAN, [0.5], [1.0]) == Difference(
        0.5, 1.0, 0.5, None, None, None, 1, 1, 0, None, "one item tells nothing of how sure the difference is"
    )


def test_the_seed_decides() -> None:
    values = np.random.default_rng(5).random(50).tolist()
    assert estimate(MEAN, values, seed=1) == estimate(MEAN, values, seed=1)
    assert estimate(MEAN, values, seed=1) != estimate(MEAN, values, seed=2)
