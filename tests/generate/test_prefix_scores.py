"""Shared prefixes against each request alone: the same scores, whatever the tree, the patterns or the batches."""

import functools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.generate import prefix_plan
from ensue.generate.score import Pair, score_alone, score_tokens
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed, Pattern, Strided
from ensue.model.presets import gpt, gpt2, modern

SHAPES = {"gpt": gpt, "gpt2": gpt2, "modern": modern}
PATTERNS: dict[str, tuple[Pattern, ...]] = {
    "dense": (Dense(),),
    "banded": (Dense(), Banded(3)),
    "strided": (Strided(4), Strided(3, "second")),
    "fixed": (Fixed(5, 2, "second"), Fixed(4, 2, spread=True)),
}
BATCHES = st.sampled_from([1, 12, 50, 8192])


@functools.cache
def model_of(shape: str, patterns: str) -> GPT:
    config: GPTConfig = SHAPES[shape](layers=2, width=24, heads=2, context=24, vocab=19)
    model = GPT.build(replace(config, patterns=PATTERNS[patterns]), 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


words = st.lists(st.sampled_from([[0], [1, 2], [3, 4, 5], [6] * 6, [7, 8, 9, 10, 11, 12, 13]]), min_size=1, max_size=4)
texts = words.map(lambda chosen: [token for word in chosen for token in word])
requests = st.lists(st.tuples(texts, texts.map(lambda tokens: tokens[:20])), min_size=1, max_size=12)


@settings(max_examples=120, deadline=None)
@given(
    shape=st.sampled_from([*SHAPES]),
    patterns=st.sampled_from([*PATTERNS]),
    pairs=requests,
    batch_tokens=BATCHES,
    memory=st.sampled_from([0, 4000, 2**20]),
    pass_cost=st.sampled_from([0, 4, 64]),
    order=st.randoms(use_true_random=False),
)
def test_as_each_request_alone(
    shape: str,
    patterns: str,
    pairs: list[Pair],
    batch_tokens: int,
    memory: int,
    pass_cost: int,
    order: object,
) -> None:
    model = model_of(shape, patterns)
    expected = [score_alone(model, *pair) for pair in pairs]
    places = [*range(len(pairs))]
    order.shuffle(places)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_plan, "PASS", pass_cost)
        found = score_tokens(model, [pairs[place] for place in places], batch_tokens=batch_tokens, memory=memory)
    for place, scores in zip(places, found, strict=True):
        assert scores.total == pytest.approx(expected[place].total, abs=1e-5)
        assert scores.nats == pytest.approx(expected[place].nats, abs=1e-5)
        assert scores.greedy == expected[place].greedy
