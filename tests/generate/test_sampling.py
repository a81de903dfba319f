"""Sampling: the same sums as transformers' processors, draws with the right odds, and bad settings refused."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from ensue.generate.sampling import (
    apply_repetition_penalty,
    block_repeated_ngrams,
    choose,
    draw,
    keep_top_k,
    keep_top_p,
    row_seeds,
    uniform,
)
from ensue.generate.settings import Sampling

NO_IDS = torch.zeros(1, 0, dtype=torch.long)


def logits_of(seed: int, *, rows: int = 3, vocab: int = 23) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * 3


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 30))
def test_top_k_is_transformers(seed: int, k: int) -> None:
    logits = logits_of(seed)
    assert torch.equal(keep_top_k(logits, k), TopKLogitsWarper(k)(NO_IDS, logits))


def test_top_k_keeps_ties() -> None:
    kept = keep_top_k(torch.tensor([[1.0, 3.0, 2.0, 2.0, 0.0]]), 2)
    assert kept.isfinite().tolist() == [[False, True, True, True, False]]


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), p=st.floats(0.01, 0.999))
def test_top_p_is_transformers(seed: int, p: float) -> None:
    logits = logits_of(seed).double()
    assert torch.equal(keep_top_p(logits, p), TopPLogitsWarper(p)(NO_IDS, logits))


def test_top_p_keeps_the_crossing_token() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert keep_top_p(logits, 0.6).isfinite().sum() == 2
    assert keep_top_p(logits, 0.001).isfinite().sum() == 1
    assert keep_top_p(logits, 1.0).isfinite().sum() == 4


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    penalty=st.sampled_from([0.7, 1.0, 1.3, 2.0]),
    history=st.lists(st.lists(st.integers(0, 22), min_size=6, max_size=6), min_size=3, max_size=3),
)
def test_repetition_penalty_is_transformers(seed: int, penalty: float, history: list[list[int]]) -> None:
    logits = logits_of(seed)
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor(history), logits.clone())
    torch.testing.assert_close(apply_repetition_penalty(logits, history, penalty=penalty), theirs)


@settings(max_examples=80)
@given(
    length=st.integers(1, 5),
    history=st.lists(st.lists(st.integers(0, 3), min_size=12, max_size=12), min_size=3, max_size=3),
)
def test_blocked_ngrams_are_transformers(length: int, history: list[list[int]]) -> None:
    logits = logits_of(0)
    theirs = NoRepeatNGramLogitsProcessor(length)(torch.tensor(history), logits.clone())
    assert torch.equal(block_repeated_ngrams(logits, history, length=length), theirs)


def test_a_row_that_can_only_repeat_itself_goes_on() -> None:
    logits = torch.tensor([[1.0, 2.0]])
    assert torch.equal(block_repeated_ngrams(logits, [[0, 1, 0]], length=1), logits)


def test_functions_leave_their_argument_alone() -> None:
    logits = logits_of(4)
    before = logits.clone()
    sampling = Sampling(0.7, top_k=5, top_p=0.8, repetition_penalty=1.5, no_repeat_ngram=1)
    choose(logits, sampling, histories=[[1, 2]] * 3, uniforms=[0.5] * 3)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution(temperature: float) -> None:
    """Chi-square of 20,000 draws over 8 tokens; 24.3 is its 0.999 quantile at 7 degrees of freedom."""
    draws = 20_000
    logits = logits_of(9, rows=1, vocab=8) / 3
    expected = (logits / temperature).softmax(-1)[0] * draws
    uniforms = [uniform(5, position) for position in range(draws)]
    tokens = choose(logits.expand(draws, 8), Sampling(temperature), histories=[[]] * draws, uniforms=uniforms)
    counts = torch.bincount(torch.tensor(tokens), minlength=8)
    assert ((counts - expected) ** 2 / expected).sum() < 24.3


def test_neighbouring_draws_are_independent() -> None:
    """Lag-1 correlation of the uniforms within a row, and across rows, of 20,000: standard deviation 0.007."""
    within = torch.tensor([uniform(3, position) for position in range(20_001)])
    across = torch.tensor([uniform(seed, 7) for seed in row_seeds([[i] for i in range(20_001)], 0)])
    for series in (within, across):
        pair = torch.stack([series[1:], series[:-1]])
        assert abs(torch.corrcoef(pair)[0, 1]) < 0.03
        assert series.min() > 0
        assert series.max() < 1


@settings(max_examples=100)
@given(place=st.floats(0, 1, exclude_min=True, exclude_max=True), seed=st.integers(0, 1000))
def test_excluded_tokens_are_never_drawn(place: float, seed: int) -> None:
    logits = logits_of(seed, rows=1)
    logits[0, ::2] = float("-inf")
    assert draw(logits, [place])[0] % 2 == 1


def test_the_ends_of_the_unit_interval() -> None:
    logits = torch.tensor([[float("-inf"), 0.0, 0.0, float("-inf")]])
    assert draw(logits, [2.0**-53]) == [1]
    assert draw(logits, [1 - 2.0**-53]) == [2]


def test_tiny_temperature_is_greedy() -> None:
    logits = logits_of(1)
    cold = choose(logits, Sampling(temperature=1e-300), histories=[[]] * 3, uniforms=[0.99] * 3)
    assert cold == logits.argmax(-1).tolist()


def test_row_seeds_do_not_depend_on_neighbours() -> None:
    a, b = [1, 2], [3]
    assert row_seeds([a, b], 7)[1] == row_seeds([b], 7)[0]
    assert len(set(row_seeds([a, a, b, [12]], 7))) == 4
    assert row_seeds([a], 7) != row_seeds([a], 8)


def test_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="not numbers"):
        choose(torch.tensor([[0.0, math.nan]]), Sampling(), histories=[[]], uniforms=[0.5])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("repetition_penalty", 0.0),
        ("no_repeat_ngram", -1),
    ],
)
def test_bad_settings_say_what_to_type(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{setting} .*type"):
        Sampling(**{setting: value})
