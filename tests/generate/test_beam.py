"""Beam search against an exhaustive one, greedy decoding, full forward passes, and transformers."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from ensue.generate.beam import beam_search
from ensue.generate.decode import generate_tokens
from ensue.generate.settings import Sampling
from ensue.model.gpt import GPT
from ensue.model.weights import save_model

STOP = frozenset({0})
MANY_STOPS = frozenset(range(20))


def summed(model: GPT, prompt: list[int], tokens: tuple[int, ...]) -> float:
    """ln p of `tokens` from one pass over everything."""
    with torch.no_grad():
        steps = model(torch.tensor([[*prompt, *tokens]])).double().log_softmax(-1)[0, len(prompt) - 1 : -1]
    return float(steps.gather(1, torch.tensor(tokens)[:, None]).sum())


@settings(max_examples=12)
@given(prompt=st.lists(st.integers(0, 60), min_size=1, max_size=8), width=st.integers(1, 6), seed=st.integers(0, 3))
def test_log_probability_is_the_sum_of_a_full_pass(
    make_gpt: Callable[..., GPT], prompt: list[int], width: int, seed: int
) -> None:
    model = make_gpt(seed=seed)
    beams = beam_search(model, prompt, max_new_tokens=9, width=width, stop_tokens=MANY_STOPS)
    assert len(beams) == width
    assert len({beam.tokens for beam in beams}) == len(beams)
    assert [beam.score for beam in beams] == sorted((beam.score for beam in beams), reverse=True)
    for beam in beams:
        assert beam.log_probability == pytest.approx(summed(model, prompt, beam.tokens), abs=1e-4)
        assert beam.score == pytest.approx(beam.log_probability / ((5 + len(beam.tokens)) / 6) ** 0.6)
        assert not MANY_STOPS.intersection(beam.tokens[:-1])


@settings(max_examples=12)
@given(prompt=st.lists(st.integers(0, 60), min_size=1, max_size=8), seed=st.integers(0, 5))
def test_width_one_is_greedy(make_gpt: Callable[..., GPT], prompt: list[int], seed: int) -> None:
    model = make_gpt(seed=seed).double()  # so that no two tokens are alike but for rounding
    [greedy] = generate_tokens(model, [prompt], sampling=Sampling(), max_new_tokens=10)
    stop = frozenset({greedy[seed]})
    [greedy] = generate_tokens(model, [prompt], sampling=Sampling(), max_new_tokens=10, stop_tokens=stop)
    [beam] = beam_search(model, prompt, max_new_tokens=10, width=1, stop_tokens=stop)
    assert list(beam.tokens) == greedy


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.5])
def test_a_wide_search_is_exhaustive(make_gpt: Callable[..., GPT], penalty: float) -> None:
    model, vocab, length, prompt = make_gpt(vocab=4, seed=2), 4, 4, [1, 3]
    every = [tokens for size in range(1, length) for tokens in itertools.product(range(1, vocab), repeat=size)]
    ended = [(), *every]
    candidates = [(*tokens, 0) for tokens in ended] + list(itertools.product(range(1, vocab), repeat=length))
    scores = {tokens: summed(model, prompt, tokens) / ((5 + len(tokens)) / 6) ** penalty for tokens in candidates}
    beams = beam_search(model, prompt, max_new_tokens=length, width=1000, stop_tokens=STOP, length_penalty=penalty)
    assert [beam.tokens for beam in beams] == sorted(scores, key=lambda tokens: -scores[tokens])
    assert [beam.score for beam in beams] == pytest.approx(sorted(scores.values(), reverse=True), abs=1e-4)


def test_beams_are_transformers(make_gpt: Callable[..., GPT], tmp_path: Path) -> None:
    model = make_gpt()
    save_model(model, tmp_path)
    reference = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    for prompt in ([5, 9, 2], [17], [30, 31, 32, 33, 34]):
        out = reference.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=10,
            num_beams=4,
            num_return_sequences=4,
            length_penalty=0.0,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
        beams = beam_search(model, prompt, max_new_tokens=10, width=4, length_penalty=0.0)
        assert [list(beam.tokens) for beam in beams] == out.sequences[:, len(prompt) :].tolist()
        assert [beam.score for beam in beams] == pytest.approx(out.sequences_scores.tolist(), abs=1e-4)


def test_ended_and_blocked(make_gpt: Callable[..., GPT]) -> None:
    model = make_gpt()
    for beam in beam_search(model, [5], max_new_tokens=12, ended=lambda tokens: len(tokens) == 5):
        assert len(beam.tokens) == 5
    for beam in beam_search(model, [5, 6], max_new_tokens=20, no_repeat_ngram=1, vocabulary=40):
        assert len({5, 6, *beam.tokens}) == 22
        assert max(beam.tokens) < 40
        assert beam.log_probability == pytest.approx(summed(model, [5, 6], beam.tokens), abs=1e-4)


def test_bad_input(make_gpt: Callable[..., GPT]) -> None:
    model = make_gpt(context=8)
    for prompt, new, width, message in [
        ([1] * 5, 4, 4, "5 tokens and 4 new ones do not fit .* context of 8"),
        ([], 4, 4, "has no tokens"),
        ([1], 4, 0, "at least 1"),
        ([1], 0, 4, "at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            beam_search(model, prompt, max_new_tokens=new, width=width)
