"""Prefill and decode over the cache equal the full forward pass, however the tokens are cut up."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.model.cache import Cache
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
    "fixed spread": replace(gpt2(**SIZE), patterns=(Fixed(6, 2, spread=True),)),
    "fixed summaries": replace(gpt2(**SIZE), patterns=(Fixed(4, 1, "second"), Fixed(5, 2, "second", spread=True))),
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


def cache_of(model, rows, spare):
    """A cache whose rings have room for `spare` new tokens only, so that they drop positions early and grow often."""
    return Cache(
        model.config, rows, capacity=CONTEXT, device=torch.device("cpu"), dtype=model.head_weight.dtype, spare=spare
    )


def sequence(length, seed):
    return torch.randint(0, VOCAB, (length,), generator=torch.Generator().manual_seed(seed))


def full(model, tokens):
    return model(tokens[None])[0]


def assert_close(found, expected):
    bound = TOLERANCE[expected.dtype]
    torch.testing.assert_close(found, expected, atol=bound, rtol=bound)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=15)
@given(
    lengths=st.lists(st.integers(1, 16), min_size=1, max_size=4),
    chunks=st.lists(st.lists(st.integers(0, 7), min_size=4, max_size=4), min_size=1, max_size=6),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    spare=st.sampled_from([1, 2, 5, 32]),
)
@torch.no_grad()
def test_any_cutting_of_ragged_rows_equals_the_full_forward(name, lengths, chunks, dtype, spare):
    """Each step gives every row some of its tokens, padded on the right to the longest piece, then cuts the padding."""
    model = MODELS[name, dtype]
    rows = [sequence(length, seed) for seed, length in enumerate(lengths)]
    cache = cache_of(model, len(rows), spare)
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
@pytest.mark.parametrize("spare", [1, 32])
@torch.no_grad()
def test_prefill_then_one_token_a_step_to_the_end_of_the_context(name, dtype, spare):
    model = MODELS[name, dtype]
    tokens = torch.stack([sequence(CONTEXT, 7), sequence(CONTEXT, 8)])
    cache = cache_of(model, 2, spare)
    found = [model(tokens[:, :9], cache=cache)]
    found += [model(tokens[:, place : place + 1], cache=cache) for place in range(9, CONTEXT)]
    assert cache.lengths == [CONTEXT, CONTEXT]
    assert_close(torch.cat(found, dim=1), model(tokens))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("spare", [1, 32])
@torch.no_grad()
def test_reordered_rows_continue_what_they_were_given(name, spare):
    model = MODELS[name, torch.float64]
    rows = [sequence(length, seed) for seed, length in enumerate((9, 4, 6))]
    cache = cache_of(model, 3, spare)
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
        cache = cache_of(model, 1, 1)
        found = [model(tokens[None, a:b], cache=cache, taps=lambda name, x: x) for a, b in ((0, 5), (5, 6), (6, 12))]
        assert_close(torch.cat(found, dim=1)[0], full(model, tokens))


@torch.no_grad()
def decoded(pattern, *, prompt, steps, context, spare=32):
    """Bytes that a cache of one layer holds after each single step that follows a prompt."""
    config = replace(gpt2(layers=1, width=8, heads=2, context=context, vocab=7), patterns=(pattern,))
    model = GPT.build(config, seed=0)
    cache = Cache(config, 3, capacity=context, device=torch.device("cpu"), dtype=torch.float32, spare=spare)
    model(torch.ones(3, prompt, dtype=torch.int64), cache=cache)
    held = []
    for _ in range(steps):
        model(torch.ones(3, 1, dtype=torch.int64), cache=cache)
        held.append(cache.bytes)
    return held


@pytest.mark.parametrize(
    ("pattern", "positions"),
    [
        (Dense(), 1000),
        (Strided(20), 1000),
        (Strided(20, "second"), 1000),
        (Banded(20), 20 - 1 + 32),
        (Strided(20, "first"), 21 - 1 + 32),
        (Fixed(20, 2, "first"), 20 - 1 + 32),
        (Fixed(20, 2), 20 - 1 + 32 + 1000 // 20 * 2),
        (Fixed(20, 3, "second", spread=True), 0 + 32 + 1000 // 20 * 3),
    ],
    ids=str,
)
def test_what_no_query_can_see_again_is_dropped(pattern, positions):
    """Slots are those of the definition and a few spare ones, whatever the prompt and however long it goes on."""
    one = 2 * 3 * 8 * 4  # keys and values, rows, width, bytes of a number
    for prompt in (3, 500):
        assert set(decoded(pattern, prompt=prompt, steps=30, context=1000)) == {one * positions}


@torch.no_grad()
def test_a_long_prompt_is_let_go_with_the_next_step_and_in_pieces_never_held():
    config = replace(gpt2(layers=2, width=8, heads=2, context=400, vocab=7), patterns=(Banded(10),))
    model = GPT.build(config, seed=0)
    tokens = torch.arange(400)[None] % 7
    cache = model.new_cache(1)
    model(tokens[:, :300], cache=cache)
    whole = cache.bytes
    model(tokens[:, 300:301], cache=cache)
    assert cache.bytes == whole * (10 - 1 + 32) // 300
    cache = model.new_cache(1)
    for start in range(0, 400, 50):
        model(tokens[:, start : start + 50], cache=cache)
        assert cache.bytes <= whole * (10 - 1 + 50) // 300


@torch.no_grad()
def test_rows_cannot_be_cut_back_into_what_was_dropped():
    model = MODELS["banded", torch.float64]
    cache = cache_of(model, 2, 2)  # rings of 3 - 1 + 2 positions
    tokens = torch.stack([sequence(20, 1), sequence(20, 2)])
    for start in range(0, 12, 2):
        model(tokens[:, start : start + 2], cache=cache)
    with pytest.raises(
        ValueError, match="cannot cut row 1 from 12 tokens to 9: a sparse layer dropped what comes before"
    ):
        cache.cut([12, 9])
    assert cache.lengths == [12, 12]
    cache.cut([10, 0])
    logits = model(torch.stack([tokens[0, 10:13], tokens[1, :3]]), cache=cache)
    assert_close(logits[0], full(model, tokens[0, :13])[10:])
    assert_close(logits[1], full(model, tokens[1, :3]))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("spare", [1, 32])
@torch.no_grad()
def test_replaced_rows_continue_what_the_other_cache_held(name, spare):
    model = MODELS[name, torch.float64]
    rows = [sequence(20, seed) for seed in range(3)]
    cache, other = cache_of(model, 3, spare), cache_of(model, 2, spare)
    for start in range(0, 14, 7):
        model(torch.stack(rows)[:, start : start + 7], cache=cache)
    anew = [sequence(11, 8), sequence(8, 9)]
    padded = torch.zeros(2, 11, dtype=torch.int64)
    for row, tokens in enumerate(anew):
        padded[row, : len(tokens)] = tokens
    model(padded, cache=other)
    other.cut([11, 8])
    cache.replace([2, 0], other)
    assert cache.lengths == [8, 14, 11]
    ends = [sequence(4, 20 + row) for row in range(3)]
    logits = model(torch.stack(ends), cache=cache)
    for row, start in enumerate([anew[1], rows[1][:14], anew[0]]):
        assert_close(logits[row], full(model, torch.cat([start, ends[row]]))[-4:])
    with pytest.raises(ValueError, match="cannot replace 1 rows"):
        cache.replace([0], other)
