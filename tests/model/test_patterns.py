"""Who sees whom: the patterns against the papers' set definitions, and what a model does with them."""

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.gpt_neo.modeling_gpt_neo import GPTNeoSelfAttention

from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed, Strided, TwoWay

LENGTH = st.integers(1, 40)


def mask(pattern, length, head=0):
    query, key = np.arange(length)[:, None], np.arange(length)[None]
    return np.broadcast_to(pattern.visible(query, key, head), (length, length))


def as_mask(sets, length):
    made = np.zeros((length, length), dtype=bool)
    for i, seen in enumerate(sets):
        made[i, sorted(seen)] = True
    return made


def assert_pattern(pattern, sets, length, head=0):
    expected = as_mask(sets, length)
    assert (mask(pattern, length, head) == expected).all()
    # Plain ints and tensors give the same, since one definition serves all.
    assert all(bool(pattern.visible(i, j, head)) == expected[i, j] for i in range(length) for j in range(length))
    place = torch.arange(length)
    seen = pattern.visible(place[:, None], place[None], torch.tensor(head))
    assert (seen.numpy() == expected).all()


@settings(max_examples=20)
@given(LENGTH)
def test_dense_and_two_way(length):
    assert_pattern(Dense(), [range(i + 1) for i in range(length)], length)
    assert_pattern(TwoWay(), [range(length)] * length, length)


@settings(max_examples=40)
@given(LENGTH, st.integers(1, 45))
def test_banded_sees_exactly_its_window(length, window):
    sets = [{j for j in range(length) if i - window < j <= i} for i in range(length)]
    assert_pattern(Banded(window), sets, length)
    assert mask(Banded(window), length).sum(1).tolist() == [min(i + 1, window) for i in range(length)]


@settings(max_examples=40)
@given(LENGTH, st.integers(1, 45))
def test_strided(length, stride):
    first = [set(range(max(0, i - stride), i + 1)) for i in range(length)]
    second = [{j for j in range(i + 1) if (i - j) % stride == 0} for i in range(length)]
    assert_pattern(Strided(stride, "first"), first, length)
    assert_pattern(Strided(stride, "second"), second, length)
    assert_pattern(Strided(stride), [a | b for a, b in zip(first, second, strict=True)], length)


@settings(max_examples=60)
@given(LENGTH, st.integers(1, 15), st.data())
def test_fixed(length, stride, data):
    summary = data.draw(st.integers(1, stride))
    first = [{j for j in range(i + 1) if j // stride == i // stride} for i in range(length)]
    tail = range(stride - summary, stride)
    second = [{j for j in range(i + 1) if j % stride in tail} | {i} for i in range(length)]
    assert_pattern(Fixed(stride, summary, "first"), first, length)
    assert_pattern(Fixed(stride, summary, "second"), second, length)
    assert_pattern(Fixed(stride, summary), [a | b for a, b in zip(first, second, strict=True)], length)


@settings(max_examples=60)
@given(LENGTH, st.integers(1, 15), st.integers(0, 20), st.data())
def test_fixed_spread_over_heads(length, stride, head, data):
    summary = data.draw(st.integers(1, stride))
    run = head % (stride // summary)
    tail = range(stride - (run + 1) * summary, stride - run * summary)
    second = [{j for j in range(i + 1) if j % stride in tail} | {i} for i in range(length)]
    first = [{j for j in range(i + 1) if j // stride == i // stride} for i in range(length)]
    assert_pattern(Fixed(stride, summary, "second", spread=True), second, length, head)
    both = [a | b for a, b in zip(first, second, strict=True)]
    assert_pattern(Fixed(stride, summary, spread=True), both, length, head)


@settings(max_examples=30)
@given(st.integers(1, 10), st.integers(1, 4))
def test_spread_heads_read_different_runs_and_all_of_a_divided_block(summary, runs):
    stride, length = summary * runs, summary * runs * 3
    pattern = Fixed(stride, summary, "second", spread=True)
    last = [set(np.flatnonzero(mask(pattern, length, head)[-1])) - {length - 1} for head in range(runs)]
    assert set().union(*last) == set(range(length - 1))
    assert sum(map(len, last)) == length - 1


@settings(max_examples=60)
@given(LENGTH, st.integers(1, 12), st.data())
def test_everything_is_reached_in_three_hops(length, stride, data):
    """Sparse Transformers, section 4.2: with p = 2 sets every earlier position is at most p + 1 steps away."""
    summary = data.draw(st.integers(1, stride))
    whole = mask(Dense(), length)
    for first, second in (
        (Strided(stride, "first"), Strided(stride, "second")),
        (Fixed(stride, summary, "first"), Fixed(stride, summary, "second")),
    ):
        one, two = mask(first, length).astype(int), mask(second, length).astype(int)
        assert ((one @ two @ one > 0) == whole).all()
        assert ((two @ one @ two > 0) == whole).all()
    one, two = (mask(Strided(stride, part), length).astype(int) for part in ("first", "second"))
    assert ((one @ two > 0) == whole).all()
    assert ((two @ one > 0) == whole).all()
    merged = mask(Fixed(stride, summary), length).astype(int)
    assert ((merged @ merged > 0) == whole).all()


def test_sets_are_about_the_square_root():
    length, stride = 400, 20
    for pattern in (Strided(stride, "first"), Strided(stride, "second"), Fixed(stride, 1, "first")):
        assert mask(pattern, length).sum(1).max() <= stride + 1


@pytest.mark.parametrize("window", [1, 2, 5, 16, 17, 30])
def test_banded_is_the_local_attention_of_gpt_neo(window):
    config = transformers.GPTNeoConfig(
        max_position_embeddings=17, hidden_size=8, num_heads=2, window_size=window, num_layers=2,
        attention_types=[[["global", "local"], 1]],
    )  # fmt: skip
    for kind, pattern in (("local", Banded(window)), ("global", Dense())):
        theirs = GPTNeoSelfAttention(config, kind).bias[0, 0].numpy()
        assert (mask(pattern, 17) == theirs).all()


PATTERNS = [
    Dense(), Banded(3), Banded(1), Strided(4), Strided(4, "first"), Strided(3, "second"), Fixed(4, 2),
    Fixed(4, 1, "first"), Fixed(5, 2, "second"), Fixed(6, 2, "second", spread=True), Fixed(6, 2, spread=True), TwoWay(),
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@torch.no_grad()
def test_a_layer_sees_what_its_pattern_says_and_nothing_else(pattern):
    """Change one token at a time: exactly the positions that see it, in some head, answer differently."""
    length, heads = 13, 3
    config = GPTConfig(
        vocab=9,
        context=length,
        layers=1,
        width=24,
        heads=heads,
        patterns=(pattern,),
        init_std=0.2,
        residual_init="same",
    )
    model = GPT.build(config, seed=2).double().eval()
    tokens = torch.arange(length) % 8
    changed = tokens.repeat(length, 1)
    changed[torch.arange(length), torch.arange(length)] = 8  # row j changes token j
    difference = (model(changed) - model(tokens.repeat(length, 1))).abs().amax(-1)  # (j changed, i answering)
    expected = np.logical_or.reduce([mask(pattern, length, head) for head in range(heads)])
    assert ((difference.T > 1e-6).numpy() == expected).all()
    assert (difference.T.numpy()[~expected] < 1e-12).all()


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@torch.no_grad()
def test_every_head_has_its_own_mask(pattern):
    length, heads = 13, 3
    config = GPTConfig(vocab=9, context=length, layers=2, width=24, heads=heads, patterns=(Dense(), pattern))
    seen = {}
    GPT.build(config, seed=2)(torch.arange(length)[None] % 9, taps=lambda name, tensor: seen.setdefault(name, tensor))
    for head in range(heads):
        shown = seen["blocks.1.attention.probabilities"][0, head] > 0
        assert (shown.numpy() == mask(pattern, length, head)).all()
        assert (seen["blocks.0.attention.probabilities"][0, head] > 0).equal(torch.ones(length, length).tril() > 0)


def test_patterns_that_make_no_sense():
    for make in (lambda: Banded(0), lambda: Strided(0), lambda: Fixed(0, 1), lambda: Fixed(4, 0)):
        with pytest.raises(ValueError, match="at least 1, not 0"):
            make()
    with pytest.raises(ValueError, match="summary 5 is longer than its block of 4"):
        Fixed(4, 5)
