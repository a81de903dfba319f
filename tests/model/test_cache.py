"""Prefill and decode over the cache equal the full forward pass, however the tokens are cut up."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed, Strided, TwoWay
from ensue.model.presets import gpt, gpt2, gpt3, modern

CONTEXT, VOCAB = 24, 19
SIZE = {"layers": 3, "width": 12, "heads": 3, "context": CONTEXT, "vocab": VOCAB}
KINDS = {
    "gpt": gpt(**SIZE),
    "gpt2": gpt2(**SIZE),
    "gpt3": replace(gpt3(**SIZE), patterns=(Dense(), Banded(4))),
    "banded": replace(gpt3(**SIZE), patterns=(Banded(3),)),
    "strided": replace(gpt2(**SIZE), patterns=(Strided(4),)),
    "strided interleaved": replace(gpt2(**SIZE), patterns=(Strided(4, "first"), Strided(4, "second"))),
    "fixed": replace(gpt2(**SIZE), patterns=(Fixed(5, 2),)),
    "fixed interleaved": replace(gpt2(**SIZE), patterns=(Fixed(6, 2, "first"), Fixed(6, 2, "second", spread=True))),
    "modern": modern(**SIZE),
    "modern banded": replace(modern(**SIZE), patterns=(Banded(4), Dense()), tied=False),
}


@torch.no_grad()
def built(config, dtype):
    """A model whose scores differ enough that seeing the wrong thing shows."""
    model = GPT.build(replace(config, init_std=0.4, position_std=0.4, residual_init="same"), seed=1)
    return model.to(dtype).eval()


MODELS = {
    (name, dtype): built(config, dtype) for name, config in KINDS.items() for dtype in (torch.float64, torch.float32)
}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def sequence(length, seed):
    return torch.randint(0, VOCAB, (length,), generator=torch.Generator().manual_seed(seed))


def full(model, tokens):
    return model(tokens[None])[0]


def assert_close(found, expected):
    bound = TOLERANCE[expected.dtype]
    torch.testing.assert_close(found, expected, atol=bound, rtol=bound)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 16), min_size=1, max_size=4),
    chunks=st.lists(st.lists(st.integers(0, 7), min_size=4, max_size=4), min_size=1, max_size=6),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
@torch.no_grad()
def test_any_cutting_of_ragged_rows_equals_the_full_forward(name, lengths, chunks, dtype):
    """Each step gives every row some of its tokens, padded on the right to the longest piece, then cuts the padding."""
    model = MODELS[name, dtype]
    rows = [sequence(length, seed) for seed, length in enumerate(lengths)]
    cache = model.new_cache(len(rows))
    found = [[] for _ in rows]
    done = [0] * len(rows)
    steps = [*chunks, *[[1, 2, 3, 1]] * CONTEXT]
    for step in steps:
        pieces = [row[at : at + take] for row, at, take in zip(rows, done, step, strict=False)]
        longest = max(map(len, pieces))
        if longest == 0 or max(done) + longest > CONTEXT:
            continue
        padded = torch.full((len(rows), longest), VOCAB - 1)
        for row, piece in enumerate(pieces):
            padded[row, : len(piece)] = piece
        logits = model(padded, cache=cache)
        done = [at + len(piece) for at, piece in zip(done, pieces, strict=True)]
        cache.cut(done)
        for row, piece in enumerate(pieces):
            found[row].append(logits[row, : len(piece)])
    for row, tokens in enumerate(rows):
        assert done[row] == len(tokens)
        assert_close(torch.cat(found[row]), full(model, tokens))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@torch.no_grad()
def test_prefill_then_one_token_a_step_to_the_end_of_the_context(name, dtype):
    model = MODELS[name, dtype]
    tokens = torch.stack([sequence(CONTEXT, 7), sequence(CONTEXT, 8)])
    cache = model.new_cache(2)
    found = [model(tokens[:, :9], cache=cache)]
    found += [model(tokens[:, place : place + 1], cache=cache) for place in range(9, CONTEXT)]
    assert cache.lengths == [CONTEXT, CONTEXT]
    assert_close(torch.cat(found, dim=1), model(tokens))


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_reordered_rows_continue_what_they_were_given(name):
    model = MODELS[name, torch.float64]
    rows = [sequence(length, seed) for seed, length in enumerate((9, 4, 6))]
    cache = model.new_cache(3)
    padded = torch.zeros(3, 9, dtype=torch.int64)
    for row, tokens in enumerate(rows):
        padded[row, : len(tokens)] = tokens
    model(padded, cache=cache)
    cache.cut([9, 4, 6])
    order = [2, 0, 0, 1]
    cache.reorder(order)
    assert cache.rows == 4
    assert cache.lengths == [6, 9, 9, 4]
    ends = [sequence(3, 20 + row) for row in range(4)]
    logits = model(torch.stack(ends), cache=cache)
    for row, source in enumerate(order):
        assert_close(logits[row], full(model, torch.cat([rows[source], ends[row]]))[-3:])


@torch.no_grad()
def test_rows_that_are_cut_back_can_go_on_differently():
    model = MODELS["gpt3", torch.float64]
    start, wrong, right = sequence(6, 0), sequence(5, 1), sequence(4, 2)
    cache = model.new_cache(1)
    model(torch.cat([start, wrong])[None], cache=cache)
    cache.cut([6])
    assert_close(model(right[None], cache=cache)[0], full(model, torch.cat([start, right]))[6:])
    with pytest.raises(ValueError, match="cannot cut rows"):
        cache.cut([11])
    with pytest.raises(ValueError, match="cannot cut rows"):
        cache.cut([1, 1])


@torch.no_grad()
def test_too_much_for_the_cache_or_the_context_changes_nothing():
    model = MODELS["gpt2", torch.float32]
    cache = model.new_cache(2, capacity=5)
    model(torch.zeros(2, 4, dtype=torch.int64), cache=cache)
    with pytest.raises(ValueError, match="6 tokens do not fit a cache of 5 positions"):
        model(torch.zeros(2, 2, dtype=torch.int64), cache=cache)
    assert cache.lengths == [4, 4]
    large = model.new_cache(1, capacity=CONTEXT + 5)
    model(torch.zeros(1, CONTEXT, dtype=torch.int64), cache=large)
    with pytest.raises(ValueError, match=f"{CONTEXT + 1} tokens are more than this model's context of {CONTEXT}"):
        model(torch.zeros(1, 1, dtype=torch.int64), cache=large)
    assert large.lengths == [CONTEXT]


def test_what_cannot_be_cached_is_refused():
    two_way = GPT.build(replace(KINDS["gpt2"], patterns=(Dense(), TwoWay())), seed=0)
    tokens = torch.zeros(1, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match="two-way pattern cannot be cached"):
        two_way(tokens, cache=two_way.new_cache(1))
    model = MODELS["gpt2", torch.float32]
    with pytest.raises(ValueError, match="segments and a cache"):
        model(tokens, cache=model.new_cache(1), segments=tokens)


@torch.no_grad()
def test_taps_see_the_same_over_the_cache():
    """The explicit twin of the fused kernel takes the same masks from the cache."""
    for name in KINDS:
        model = MODELS[name, torch.float64]
        tokens = sequence(12, 3)
        cache = model.new_cache(1)
        found = [model(tokens[None, a:b], cache=cache, taps=lambda name, x: x) for a, b in ((0, 5), (5, 6), (6, 12))]
        assert_close(torch.cat(found, dim=1)[0], full(model, tokens))
