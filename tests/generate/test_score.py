"""Log-likelihoods against full passes of transformers' model, batched or not, short or past the window."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from ensue.generate import score
from ensue.generate.score import loglikelihood, loglikelihoods, rolling_loglikelihood
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import TwoWay
from ensue.model.weights import save_model

ids = st.lists(st.integers(0, 60), min_size=1, max_size=14)


@pytest.fixture(scope="module")
def pair_of_models(
    make_gpt: Callable[..., GPT], tmp_path_factory: pytest.TempPathFactory
) -> tuple[GPT, torch.nn.Module]:
    folder: Path = tmp_path_factory.mktemp("model")
    model = make_gpt(context=16)
    save_model(model, folder)
    return model, AutoModelForCausalLM.from_pretrained(folder).eval()


def reference_nats(model: torch.nn.Module, context: list[int], continuation: list[int]) -> float:
    """From transformers' loss, which is the mean over the labels that are not -100."""
    tokens = [*context, *continuation][-17:]
    inputs, targets = torch.tensor([tokens[:-1]]), torch.tensor(tokens[1:])
    with torch.no_grad():
        steps = model(inputs).logits[0].double().log_softmax(-1)
    return float(steps.gather(1, targets[:, None])[-len(continuation) :].sum())


@settings(max_examples=25)
@given(pairs=st.lists(st.tuples(ids, ids), min_size=1, max_size=6), batch_tokens=st.sampled_from([1, 30, 8192]))
def test_batched_equals_transformers_one_by_one(
    pair_of_models: tuple[GPT, torch.nn.Module], pairs: list[tuple[list[int], list[int]]], batch_tokens: int
) -> None:
    model, reference = pair_of_models
    expected = [reference_nats(reference, context, continuation) for context, continuation in pairs]
    assert loglikelihoods(model, pairs, batch_tokens=batch_tokens) == pytest.approx(expected, abs=1e-4)


def test_pieces_of_logits_change_nothing(
    pair_of_models: tuple[GPT, torch.nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = pair_of_models
    whole = loglikelihood(model, [1, 2], [3, 4, 5, 6, 7])
    monkeypatch.setattr(score, "LOGITS_AT_ONCE", 2 * model.config.vocab)
    assert loglikelihood(model, [1, 2], [3, 4, 5, 6, 7]) == pytest.approx(whole, abs=1e-5)


def test_the_parts_of_a_text_add_up(pair_of_models: tuple[GPT, torch.nn.Module]) -> None:
    model, _ = pair_of_models
    parts = loglikelihood(model, [1], [2, 3]) + loglikelihood(model, [1, 2, 3], [4, 5])
    assert parts == pytest.approx(loglikelihood(model, [1], [2, 3, 4, 5]), abs=1e-4)


@pytest.mark.parametrize("length", [0, 1, 16, 17, 40])
def test_rolling_scores_each_token_once(pair_of_models: tuple[GPT, torch.nn.Module], length: int) -> None:
    model, reference = pair_of_models
    tokens = [(7 * i) % 61 for i in range(length)]
    expected = 0.0
    for start in range(0, length, 16):
        before = [tokens[start - 1]] if start else [60]
        expected += reference_nats(reference, before, tokens[start : start + 16])
    assert rolling_loglikelihood(model, tokens, first=60) == pytest.approx(expected, abs=1e-4)


def test_bad_input(pair_of_models: tuple[GPT, torch.nn.Module]) -> None:
    model, _ = pair_of_models
    for context, continuation, message in [
        ([], [1], "pair 1: the context has no tokens"),
        ([1], [], "pair 1: the continuation has no tokens"),
        ([1], [1] * 17, "17 tokens, more than this model's context of 16"),
    ]:
        with pytest.raises(ValueError, match=message):
            loglikelihoods(model, [([1], [1]), (context, continuation)])
    two_way = GPT.build(GPTConfig(vocab=5, context=4, layers=1, width=4, heads=1, patterns=(TwoWay(),)), 0)
    with pytest.raises(ValueError, match="two-way"):
        loglikelihood(two_way, [1], [2])
