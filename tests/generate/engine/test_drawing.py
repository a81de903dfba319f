"""A draw among candidates beside `choose`, which sorts everything."""

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.generate.engine.drawing import draw_token
from ensue.generate.sampling import choose
from ensue.generate.settings import Sampling


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([3, 40, 700, 3000]),
    spread=st.sampled_from([0.0, 0.3, 3.0, 40.0]),
    steps=st.sampled_from([None, 0.5]),
    temperature=st.sampled_from([0.01, 0.7, 1.0, 5.0]),
    top_k=st.sampled_from([None, 1, 2, 20, 5000]),
    top_p=st.sampled_from([None, 0.001, 0.5, 0.9, 0.9999, 1.0]),
    uniform=st.floats(1e-9, 1 - 1e-9),
)
def test_candidates_give_the_same_token(seed, size, spread, steps, temperature, top_k, top_p, uniform) -> None:
    row = torch.randn(size, generator=torch.Generator().manual_seed(seed)) * spread
    if steps is not None:
        row = (row / steps).round() * steps  # many ties
    sampling = Sampling(temperature, top_k, top_p)
    (expected,) = choose(row[None], sampling, histories=[[]], uniforms=[uniform])
    found = draw_token(row, sampling, uniform)
    if found != expected:  # only where the draw, or the nucleus, ends on the very border between two tokens
        drawn = _kept(row, sampling).softmax(0).cumsum(0) - uniform
        nucleus = _kept(row, replace(sampling, top_p=None)).softmax(0).sort(descending=True).values.cumsum(0)
        assert min(float(drawn.abs().min()), float((nucleus - (top_p or 1)).abs().min())) < 1e-9


def _kept(row: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    from ensue.generate.sampling import keep_top_k, keep_top_p

    logits = (row.double() - row.max())[None] / sampling.temperature
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    return (keep_top_p(logits, sampling.top_p) if sampling.top_p is not None else logits)[0]


def test_banned_tokens_are_never_drawn() -> None:
    row = torch.full((1000,), float("-inf"))
    row[[5, 900]] = 0.0
    for uniform in (0.01, 0.49, 0.51, 0.99):
        for sampling in (Sampling(1.0), Sampling(1.0, top_k=50), Sampling(1.0, top_p=0.99)):
            assert draw_token(row, sampling, uniform) == (5 if uniform < 0.5 else 900)
