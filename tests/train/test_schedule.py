"""The learning rate's course against the papers' formulas and transformers' own schedules."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.train.schedule import Schedule

SHAPES = ["cosine", "linear", "trapezoid", "constant"]
schedules = st.tuples(st.integers(1, 300), st.integers(0, 300)).flatmap(
    lambda parts: st.builds(
        Schedule,
        st.sampled_from(SHAPES),
        st.just(min(parts)),
        st.just(max(parts)),
        floor=st.sampled_from([0.0, 0.1, 0.5]),
        decay=st.sampled_from([0.1, 0.4, 1.0]),
    )
)


def test_gpt_rises_over_2000_updates_and_falls_to_0_on_a_cosine():
    """GPT (2018), 4.1."""
    schedule = Schedule("cosine", warmup=2000, steps=100_000)
    assert schedule.factor(0) == 1 / 2001, "the first update is not wasted on a rate of 0"
    assert schedule.factor(999) == pytest.approx(0.5, abs=1e-3)
    assert schedule.factor(2000) == 1.0
    assert schedule.factor(51_000) == pytest.approx(0.5)
    assert schedule.factor(99_999) == pytest.approx(0.0, abs=1e-9)
    assert schedule.factor(100_000) == schedule.factor(10**9) == 0.0


def test_gpt3_falls_to_a_tenth_and_stays_there():
    """GPT-3 (2020), appendix B: warm-up over 375M tokens, cosine to 10% over 260B, then constant; a million a step."""
    schedule = Schedule("cosine", warmup=375, steps=260_000, floor=0.1)
    assert schedule.factor(375) == 1.0
    for step in (1000, 130_000, 259_999):
        share = (step - 375) / (260_000 - 375)
        assert schedule.factor(step) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))
    assert schedule.factor(260_000) == schedule.factor(300_000) == 0.1
    longer = Schedule("cosine", warmup=375, steps=300_000, floor=0.1, decay_steps=260_000)
    assert all(longer.factor(step) == schedule.factor(step) for step in range(0, 300_001, 1000))


@pytest.mark.parametrize("floor", [0.0, 0.1])
@pytest.mark.parametrize(("warmup", "steps"), [(0, 50), (7, 50), (49, 50), (50, 50)])
def test_equals_transformers_cosine_one_update_later(warmup, steps, floor):
    """Theirs spends the first update on a rate of 0; ours starts where theirs is at its second."""
    from transformers import get_cosine_with_min_lr_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup + 1, steps + 1, min_lr_rate=floor)
    ours = Schedule("cosine", warmup, steps, floor)
    for step in range(steps):
        optimizer.step()
        theirs.step()
        assert ours.factor(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12, abs=1e-15)


def test_linear_equals_transformers_linear_one_update_later():
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimizer, 6, 41)
    ours = Schedule("linear", warmup=5, steps=40)
    for step in range(40):
        optimizer.step()
        theirs.step()
        assert ours.factor(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)


def test_trapezoid_is_flat_until_its_decay_then_a_straight_line():
    schedule = Schedule("trapezoid", warmup=10, steps=110, floor=0.1, decay=0.4)
    assert schedule.decay_start == 70
    assert [schedule.factor(step) for step in range(10, 71)] == [1.0] * 61
    for step in range(70, 110):
        assert schedule.factor(step) == pytest.approx(0.1 + 0.9 * (110 - step) / 40)
    assert schedule.factor(110) == 0.1


@settings(max_examples=80)
@given(schedule=schedules)
def test_every_update_moves_and_the_rate_never_jumps(schedule):
    factors = [schedule.factor(step) for step in range(schedule.steps + 2)]
    assert all(0 < factor <= 1 for factor in factors[: schedule.steps])
    rise = factors[: min(schedule.warmup + 1, schedule.steps)]
    assert all(one < other for one, other in itertools.pairwise(rise))
    fall = factors[schedule.warmup :]
    if schedule.warmup < schedule.steps and schedule.shape != "constant":
        assert all(one >= other for one, other in itertools.pairwise(fall))
        part = schedule.decay if schedule.shape == "trapezoid" else 2 / math.pi if schedule.shape == "cosine" else 1.0
        steepest = max(one - other for one, other in itertools.pairwise(fall))
        assert steepest <= 1 / (part * (schedule.steps - schedule.warmup)) + 1e-9
        assert factors[-1] == schedule.floor


@settings(max_examples=100)
@given(
    warmup=st.integers(0, 20),
    length=st.integers(1, 300),
    new=st.integers(1, 600),
    at=st.floats(0, 1),
    floor=st.sampled_from([0.0, 0.1]),
    decay=st.sampled_from([0.1, 0.4, 1.0]),
)
def test_a_trapezoid_is_refitted_without_a_jump(warmup, length, new, at, floor, decay):
    old = Schedule("trapezoid", warmup, warmup + length, floor, decay)
    step = warmup + int(at * (length - 1))
    fitted = old.refitted(step, step + new)
    assert fitted.steps == step + new
    assert fitted.factor(step) == pytest.approx(old.factor(step), rel=1e-9)
    assert fitted.factor(fitted.steps) == floor
    factors = [fitted.factor(each) for each in range(step, fitted.steps + 1)]
    assert all(one >= other - 1e-12 for one, other in itertools.pairwise(factors))
    again = fitted.refitted(step, step + new)
    assert again.factor(step) == pytest.approx(old.factor(step), rel=1e-6)


def test_refitting_before_the_decay_keeps_its_share():
    old = Schedule("trapezoid", warmup=10, steps=110, decay=0.4)
    assert old.refitted(20, 210) == Schedule("trapezoid", warmup=10, steps=210, decay=0.4)
    assert old.refitted(20, 5).steps == 21, "a step that is running cannot be taken back"


def test_refitting_stretches_the_other_shapes():
    gpt3 = Schedule("cosine", warmup=10, steps=300, floor=0.1, decay_steps=260)
    assert gpt3.refitted(50, 150) == Schedule("cosine", warmup=10, steps=150, floor=0.1, decay_steps=130)
    assert gpt3.refitted(5, 6).factor(6) == 0.1
    assert Schedule("linear", warmup=10, steps=100).refitted(50, 80) == Schedule("linear", warmup=10, steps=80)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"warmup": 11, "steps": 10}, "warm-up of 11 steps does not fit a schedule of 10; set schedule.warmup lower"),
        ({"warmup": -1, "steps": 10}, "warm-up of -1 steps"),
        ({"warmup": 0, "steps": 10, "floor": 1.0}, "floor must be at least 0 and below 1"),
        ({"warmup": 0, "steps": 10, "floor": -0.1}, "floor must be at least 0 and below 1"),
        ({"warmup": 5, "steps": 10, "decay_steps": 4}, "decay_steps 4 lies within the warm-up of 5"),
        ({"warmup": 0, "steps": 10, "decay": 0.0}, "decay must be above 0"),
    ],
)
def test_what_makes_no_schedule_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Schedule("trapezoid", **fields)
