"""The batches of a step are a function of (examples, seed, step), whole, and mostly not padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.tokens.examples import Example, ExampleStream, in_order_of_length
from ensue.tokens.task_batch import task_batch


def examples(count, *, seed=0, longest=60, choices=None):
    """Random ones of one row, or of `choices` rows each."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        rows = choices[number % len(choices)] if choices else 1
        lengths = np.minimum(2 + draw.exponential(15, rows).astype(int), longest)
        answer = np.eye(max(rows, 2), dtype=np.float32)[draw.integers(rows)]
        made.append(
            Example(tuple(draw.integers(1, 99, length).astype(np.int32) for length in lengths), answer, f"f:{number}")
        )
    return made


def test_a_batch_holds_what_it_was_made_of():
    rows = [[np.array([7, 1, 2, 9]), np.array([7, 3, 9])], [np.array([7, 9])]]
    batch = task_batch(rows, [np.array([0.0, 1.0]), np.array([1.0])], looks_ahead=False)
    assert batch.examples == 2
    assert batch.tokens.tolist() == [[7, 1, 2, 9], [7, 3, 9, 0], [7, 9, 0, 0]]
    assert batch.targets.tolist() == [[1, 2, 9, 0], [3, 9, 0, 0], [9, 0, 0, 0]]
    assert batch.weights.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    assert batch.extract.tolist() == [3, 2, 1]
    assert batch.example.tolist() == [0, 0, 1]
    assert batch.place.tolist() == [0, 1, 0]
    assert batch.answer.tolist() == [[0, 1], [1, 0]]
    assert batch.segments is None
    ahead = task_batch(rows, [np.array([0.0, 1.0]), np.array([1.0])], looks_ahead=True).to(torch.device("cpu"))
    assert ahead.segments is not None
    assert ahead.segments.tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1]]


@settings(max_examples=30)
@given(
    count=st.integers(4, 90),
    batch=st.integers(1, 4),
    budget=st.integers(1, 400),
    seed=st.integers(0, 9),
    choices=st.sampled_from([None, (2,), (3, 4, 5)]),
)
def test_steps_hold_whole_batches_and_each_example_at_most_once_an_epoch(count, batch, budget, seed, choices):
    given_ones = examples(count, seed=seed, choices=choices)
    stream = ExampleStream(given_ones, batch=batch, micro_tokens=budget, seed=seed)
    assert stream.steps_per_epoch == count // batch
    for epoch in range(2):
        seen = []
        for step in range(epoch * stream.steps_per_epoch, (epoch + 1) * stream.steps_per_epoch):
            batches = list(stream.batches(step))
            assert sum(part.examples for part in batches) == batch
            assert all(part.tokens.numel() <= budget or part.examples == 1 for part in batches)
            assert stream.tokens(step) == sum(int(part.weights.sum()) + len(part.extract) for part in batches)
            numbers = stream.numbers(step)
            assert stream.documents(step) == [f"f:{number}" for number in numbers]
            fed = [
                part.tokens[row, : part.extract[row] + 1].tolist()
                for part in batches
                for row in range(len(part.extract))
            ]
            assert fed == [row.tolist() for number in numbers for row in given_ones[number].rows]
            seen += numbers
        assert len(set(seen)) == len(seen) == count // batch * batch


def test_any_step_alone_is_the_same_step():
    """In whatever order they are asked for, and in another process: nothing is remembered."""
    one, other = (ExampleStream(examples(50), batch=4, micro_tokens=100, seed=3) for _ in range(2))
    steps = list(range(40))
    there = {step: one.numbers(step) for step in steps}
    for step in np.random.default_rng(0).permutation(steps).tolist():
        assert other.numbers(step) == there[step]
    assert ExampleStream(examples(50), batch=4, micro_tokens=100, seed=4).numbers(0) != there[0]
    assert there[0] != there[12]  # another epoch, another order


def test_little_is_padding_and_batches_are_not_in_order_of_length():
    stream = ExampleStream(examples(3000, longest=200), batch=32, micro_tokens=4096, seed=0)
    fed = own = 0
    means = []
    for step in range(stream.steps_per_epoch):
        batches = list(stream.batches(step))
        fed += sum(batch.tokens.numel() for batch in batches)
        own += stream.tokens(step)
        means.append(stream.tokens(step))
    assert stream.padding() == pytest.approx(1 - own / fed)
    assert stream.padding() < 0.1
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3


def test_all_examples_once_whatever_the_budget():
    given_ones = examples(33, choices=(2, 3))
    for budget in (1, 50, 10_000):
        found = list(in_order_of_length(given_ones, micro_tokens=budget, looks_ahead=False))
        assert sorted(number for numbers, _ in found for number in numbers) == list(range(33))
        assert all(len(numbers) == batch.examples for numbers, batch in found)


def test_too_few_examples_say_what_to_type():
    with pytest.raises(ValueError, match="3 examples do not fill one batch of 4; type --batch 3"):
        ExampleStream(examples(3), batch=4, micro_tokens=10, seed=0)
