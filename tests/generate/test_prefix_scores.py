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


@settings(max_examples=120)
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


def test_a_row_of_one_sequence_gives_what_the_model_gives() -> None:
    model = model_of("gpt2", "dense")
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    with torch.no_grad():
        steps = model(torch.tensor([tokens[:-1]]))[0].log_softmax(-1)
    expected = steps[range(3, 7), tokens[4:]].tolist()
    greedy = tuple(best == token for best, token in zip(steps[3:].argmax(-1).tolist(), tokens[4:], strict=True))
    for scores in (score_alone(model, tokens[:4], tokens[4:]), score_tokens(model, [(tokens[:4], tokens[4:])])[0]):
        assert scores.nats == pytest.approx(expected, abs=1e-5)
        assert scores.greedy == greedy


def test_of_equally_likely_tokens_the_lowest_is_greedy() -> None:
    model = GPT.build(gpt2(layers=1, width=4, heads=1, context=8, vocab=5), 0)
    with torch.no_grad():
        model.token_embedding.weight.zero_()
    found = score_tokens(model, [([1], [0]), ([1], [4])])
    assert [scores.greedy for scores in found] == [(True,), (False,)]


def test_deep_chains_and_repeats() -> None:
    """Each a prefix of the next, so that the tree is as deep as the window, and every pair twice."""
    model = model_of("modern", "banded")
    text = [(5 * place) % 19 for place in range(24)]
    pairs = [(text[:length], text[length : length + 2]) for length in range(1, 23)] * 2
    assert [scores.total for scores in score_tokens(model, pairs)] == pytest.approx(
        [score_alone(model, *pair).total for pair in pairs], abs=1e-5
    )


def test_it_tells_how_many_are_done() -> None:
    model = model_of("gpt2", "dense")
    pairs = [([1, 2, number], [number % 3, 5]) for number in range(17)]
    done: list[int] = []
    score_tokens(model, pairs, batch_tokens=20, on_done=done.append)
    assert len(done) > 2
    assert min(done) > 0
    assert sum(done) == 17
    assert score_tokens(model, [], on_done=done.append) == []


def test_numbers_that_are_none_are_told_with_their_own_pair() -> None:
    """In a row that pairs share, one's reach the others."""
    model = GPT.build(gpt2(layers=1, width=4, heads=1, context=16, vocab=9), 0)
    with torch.no_grad():
        model.token_embedding.weight[7] = float("nan")
        model.head = torch.nn.Linear(4, 9, bias=False)
    beginning = [1, 2, 1, 2, 1, 2]
    score_tokens(model, [(beginning, [token, 1]) for token in (4, 5, 6)])
    with pytest.raises(ValueError, match="pair 2: its log-probability is not a number"):
        score_tokens(model, [(beginning, [token, 1]) for token in (4, 5, 7, 6)])


def test_tokens_that_the_model_does_not_have() -> None:
    model = model_of("gpt2", "dense")
    for tokens in ([19], [-1]):
        with pytest.raises(ValueError, match="pair 1: a token id is outside this model's vocabulary of 19"):
            score_tokens(model, [([1], [2]), ([1, 2], tokens)])


def test_training_goes_on_as_before() -> None:
    model = GPT.build(gpt2(layers=1, width=8, heads=1, context=8, vocab=5), 0)
    model.train()
    score_tokens(model, [([1, 2], [3]), ([1, 2], [4, 0])])
    assert model.training
    model(torch.tensor([[1, 2, 3]])).sum().backward()


@pytest.mark.parametrize("patterns", [*PATTERNS])
def test_bf16_stays_near_itself(patterns: str) -> None:
    """Sharing costs no more than the rounding that the rows themselves have."""
    model = model_of("gpt2", patterns)
    pairs = [([*range(12), number], [number, 1, 2]) for number in range(8)]
    exact = [score_alone(model, *pair).total for pair in pairs]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        alone = [score_alone(model, *pair).total for pair in pairs]
        shared = [scores.total for scores in score_tokens(model, pairs)]
    error = max(abs(a - b) for a, b in zip(alone, exact, strict=True))
    assert shared == pytest.approx(exact, abs=3 * error)
