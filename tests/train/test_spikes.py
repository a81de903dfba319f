"""Spikes: found against a slow twin in numpy, the same after a restart, and never a reason to skip for ever."""

import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.train.spikes import SpikeConfig, SpikeGuard


def fed(guard, pairs):
    return [guard.judge(loss, norm) is not None for loss, norm in pairs]


def noise(seed, count):
    draw = random.Random(seed)
    return [(4 - 0.01 * step + draw.gauss(0, 0.05), math.exp(draw.gauss(0, 0.2))) for step in range(count)]


def test_noise_that_falls_slowly_is_no_spike():
    assert not any(fed(SpikeGuard(SpikeConfig(action="skip")), noise(1, 400)))


@pytest.mark.parametrize("spike", [(9.0, 1.0), (4.0, 80.0), (math.nan, 1.0), (4.0, math.inf), (math.inf, math.nan)])
def test_an_outlier_is_one_and_those_after_it_are_judged_as_if_it_had_not_been(spike):
    guard, undisturbed = (SpikeGuard(SpikeConfig(action="skip")) for _ in range(2))
    assert not any(fed(guard, noise(2, 100)) + fed(undisturbed, noise(2, 100)))
    assert fed(guard, [spike, spike]) == [True, True]
    assert fed(guard, noise(3, 200)) == fed(undisturbed, noise(3, 200))
    after, expected = guard.state_dict(), undisturbed.state_dict()
    assert after == expected


def test_nothing_is_judged_before_half_a_window_but_what_is_no_number():
    guard = SpikeGuard(SpikeConfig(action="skip", window=32))
    assert fed(guard, [(4.0, 1.0)] * 8 + [(400.0, 100.0)]) == [False] * 9
    assert fed(guard, [(math.nan, 1.0)]) == [True]


def slow_twin(pairs, window, deviations):
    """Which finite pairs are spikes, by numpy over lists, with no limit on how many follow one another."""
    seen, found = [], []
    for pair in pairs:
        bad = False
        for place in (0, 1):
            values = np.array([each[place] for each in seen[-window:]])
            if len(values) >= window // 2:
                middle = np.median(values)
                spread = 1.4826 * np.median(np.abs(values - middle))
                bad |= pair[place] > middle + deviations * max(spread, 0.01 * abs(middle))
        found.append(bool(bad))
        if not bad:
            seen.append(pair)
    return found


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(8, 40), st.floats(1, 20))
def test_it_agrees_with_a_slow_twin(seed, window, deviations):
    draw = random.Random(seed)
    pairs = [
        (loss * draw.choice([1] * 20 + [3]), norm * draw.choice([1] * 20 + [30])) for loss, norm in noise(seed, 150)
    ]
    guard = SpikeGuard(SpikeConfig(action="skip", window=window, deviations=deviations, most=10**6))
    assert fed(guard, pairs) == slow_twin(pairs, window, deviations)


def test_a_level_that_stays_is_taken_as_it_is():
    guard = SpikeGuard(SpikeConfig(action="skip", window=16, most=3))
    assert not any(fed(guard, noise(4, 50)))
    high = [(50 + loss, norm) for loss, norm in noise(5, 30)]
    assert fed(guard, high) == [True] * 3 + [False] * 27
    assert fed(guard, [(500.0, 1.0)]) == [True], "and then it is what others are judged by"


def test_what_is_no_number_never_becomes_the_level():
    guard = SpikeGuard(SpikeConfig(action="skip", window=16, most=3))
    assert fed(guard, [(math.nan, 1.0)] * 5) == [True, True, True, False, True]


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 120))
def test_a_guard_from_a_saved_state_goes_on_the_same(seed, cut):
    draw = random.Random(seed)
    pairs = [(loss * draw.choice([1, 1, 1, 4]), norm) for loss, norm in noise(seed, 120)]
    whole, first, second = (SpikeGuard(SpikeConfig(action="skip", window=20, most=2)) for _ in range(3))
    before = fed(first, pairs[:cut])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert before + fed(second, pairs[cut:]) == fed(whole, pairs)
    assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize("wrong", [{"window": 4}, {"deviations": 0.0}, {"most": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"--spikes\.window 128 --spikes\.deviations 10"):
        SpikeConfig(**wrong)
