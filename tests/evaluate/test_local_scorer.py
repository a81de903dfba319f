"""A model here as a scorer: transformers' numbers, whatever is asked together; what does not fit is told."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.evaluate.local import LocalScorer
from ensue.evaluate.scorer import Decoding, Prompt, Request, Scored
from ensue.generate.lm import LM
from ensue.generate.load import load

REQUESTS = [
    Request("The fox said", " to the crow"),
    Request("", "狐狸"),
    Request("The fox said ", "to the crow: sing"),
    Request("从前有", "一只"),
    Request("The fox said", " to the crow"),
    Request("The wood was dark. " * 5, " deep"),
]


def close(ones: list[Scored], others: list[Scored]) -> None:
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert one.token_nats == pytest.approx(other.token_nats, abs=1e-5)
        assert replace(one, token_nats=()) == replace(other, token_nats=())


def test_the_numbers_are_those_of_transformers(small_model: Path, small_scorer: LocalScorer) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(small_model).eval()
    tokenizer = small_scorer.lm.tokenizer
    for request, scored in zip(REQUESTS, small_scorer.loglikelihood(REQUESTS), strict=True):
        ids = tokenizer.encode(request.context + request.continuation)
        with torch.no_grad():
            logits = theirs(torch.tensor([[tokenizer.end, *ids]])).logits[0].double().log_softmax(-1)
        count = len(scored.tokens)
        places = range(len(ids) - count, len(ids))
        if request.context:  # no end token before a text that has a beginning
            with torch.no_grad():
                logits = theirs(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            places = range(len(ids) - count - 1, len(ids) - 1)
        wanted = [float(logits[place, token]) for place, token in zip(places, ids[-count:], strict=True)]
        assert scored.token_nats == pytest.approx(wanted, abs=1e-5)
        likeliest = [int(logits[place].argmax()) for place in places]
        assert scored.greedy == (likeliest == ids[-count:])
        assert "".join(scored.tokens).encode().decode("unicode_escape", "ignore")  # each token told as text
        assert (scored.cut, scored.unscored) == (0, 0)


@settings(max_examples=15)
@given(
    places=st.lists(st.integers(0, len(REQUESTS) - 1), min_size=1, max_size=9),
    pass_tokens=st.sampled_from((1, 60, 300, 8192)),
)
def test_the_company_changes_nothing(small_lm: LM, places: list[int], pass_tokens: int) -> None:
    together = LocalScorer(small_lm, pass_tokens=pass_tokens).loglikelihood([REQUESTS[place] for place in places])
    close(together, [LocalScorer(small_lm).loglikelihood([REQUESTS[place]])[0] for place in places])


def test_sums_are_those_of_the_model(small_lm: LM, small_scorer: LocalScorer) -> None:
    pairs = [(request.context, request.continuation) for request in REQUESTS]
    ours = [scored.nats for scored in small_scorer.loglikelihood(REQUESTS)]
    assert ours == pytest.approx(small_lm.loglikelihoods(pairs), abs=1e-5)


def test_what_does_not_fit_is_told(small_lm: LM, small_scorer: LocalScorer) -> None:
    window = small_lm.config.context
    assert small_scorer.window() == window
    text = "The fox said to the crow. " * 40
    ids = small_lm.tokenizer.encode(text)
    [long_context] = small_scorer.loglikelihood([Request(text, " sing")])
    tail = small_lm.tokenizer.decode(ids[-60:])
    whole = len(small_lm.tokenizer.encode(text.rstrip() + "  sing"))
    assert long_context.cut == whole - window - 1
    assert long_context.unscored == 0
    assert small_scorer.loglikelihood([Request(tail, " sing")])[0].cut == 0

    [long_continuation] = small_scorer.loglikelihood([Request("The wood", " and" + text)])
    count = len(small_lm.tokenizer.encode("The wood and" + text)) - len(small_lm.tokenizer.encode("The wood"))
    assert len(long_continuation.token_nats) == window
    assert long_continuation.unscored == count - window
    assert long_continuation.cut == len(small_lm.tokenizer.encode("The wood"))
    after = small_lm.tokenizer.encode("The wood and" + text)
    rest = after[-window - 1 :]
    with torch.no_grad():
        logits = small_lm.model(torch.tensor([rest[:-1]]))[0].log_softmax(-1)
    wanted = logits[torch.arange(window), torch.tensor(rest[1:])].tolist()
    assert long_continuation.token_nats == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("stride", [None, 96, 40, 7])
def test_rolling_scores_each_token_once_after_as_much_as_fits(
    small_lm: LM, small_scorer: LocalScorer, stride: int | None
) -> None:
    texts = ["The fox and the crow, 天地玄黃. " * 12, "a", "The end of the tale."]
    step = stride or 96
    for text, scored in zip(texts, small_scorer.rolling(texts, stride=stride), strict=True):
        tokens = [small_lm.tokenizer.end, *small_lm.tokenizer.encode(text)]
        assert len(scored.token_nats) == len(tokens) - 1
        if len(tokens) <= 97:
            assert scored.nats == pytest.approx(small_lm.rolling_loglikelihood(text), abs=1e-4)
        for place in {1, len(tokens) // 3, 2 * len(tokens) // 3, len(tokens) - 1} & set(range(1, len(tokens))):
            window = max(0, -(-(place - 96) // step))  # which window the token is scored in
            stop = min(len(tokens), 97 + window * step)
            begin = max(0, stop - 97)
            with torch.no_grad():
                logits = small_lm.model(torch.tensor([tokens[begin:place]]))[0, -1].log_softmax(-1)
            assert scored.token_nats[place - 1] == pytest.approx(float(logits[tokens[place]]), abs=1e-5)
    with pytest.raises(ValueError, match="stride of 97"):
        small_scorer.rolling(["a"], stride=97)


def test_writing_is_the_models_own(small_lm: LM, small_scorer: LocalScorer) -> None:
    texts = ["The fox", "The crow said to the", "", "天地 " * 60]
    greedy = Decoding(most=12, stop=("wood", "."))
    beams = Decoding(kind="beam", most=10, stop=("wood",))
    told: list[int] = []
    written = small_scorer.generate([Prompt(text, greedy) for text in texts], told.append)
    assert sum(told) == len(texts)
    kept = [small_lm.tokenizer.decode(small_lm.tokenizer.encode(text)[-84:]) for text in texts[:3]]
    assert written[:3] == small_lm.generate(kept, max_new_tokens=12, stop=greedy.stop)
    assert small_scorer.generate([Prompt(text, beams) for text in texts[:3]]) == small_lm.generate(
        kept, max_new_tokens=10, beams=4, stop=beams.stop
    )
    assert len(small_lm.tokenizer.encode(small_scorer.generate([Prompt("fox", Decoding(most=999, stop=()))])[0])) <= 96


def test_samples_depend_on_their_own_seed(small_scorer: LocalScorer) -> None:
    draw = Decoding(kind="sample", most=10, stop=(), top_k=20)
    prompts = [Prompt("The fox", draw, seed) for seed in range(5)] + [Prompt("The crow said", draw, 2)]
    together = small_scorer.generate(prompts)
    assert together == [small_scorer.generate([prompt])[0] for prompt in prompts]
    assert len(set(together)) > 3
    mixed = small_scorer.generate([prompts[0], Prompt("The fox", Decoding(most=10, stop=())), prompts[5]])
    assert [mixed[0], mixed[2]] == [together[0], together[5]]


def test_identity(small_model: Path, small_scorer: LocalScorer) -> None:
    identity = small_scorer.identity()
    assert identity["weights"] == hashlib.sha256((small_model / "model.safetensors").read_bytes()).hexdigest()
    assert identity["tokenizer"] == small_scorer.lm.tokenizer.fingerprint
    assert (identity["precision"], identity["device"]) == ("float32", "cpu")
    assert LocalScorer(load(small_model, device="cpu", dtype="bf16")).identity()["precision"] == "bfloat16"


def test_what_is_no_number_is_named(small_model: Path) -> None:
    damaged = load(small_model, device="cpu")
    with torch.no_grad():
        damaged.model.token_embedding.weight[damaged.tokenizer.encode(" crow")[0]] = torch.nan
    with pytest.raises(ValueError, match=r"The fox saw a crow': its log-probability is not a number"):
        LocalScorer(damaged).loglikelihood([Request("The fox saw a", " crow")])
    with pytest.raises(ValueError, match=r"request 1 .*is empty"):
        LocalScorer(damaged).loglikelihood([Request("a", "b"), Request("The fox", "")])
