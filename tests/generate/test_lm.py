"""LM: text in, text out, streamed or whole; stop strings; scores; every bad argument."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.generate.beam import beam_search
from ensue.generate.decode import generate_tokens
from ensue.generate.lm import LM
from ensue.generate.settings import Sampling

PROMPT = "Once upon a time"
SAMPLE = {"temperature": 1.2, "top_k": 50, "top_p": 0.98, "seed": 4}


def made_tokens(lm: LM, prompt: str, *, new: int, seed: int | None = None) -> list[int]:
    sampling = Sampling() if seed is None else Sampling(1.2, 50, 0.98, seed=seed)
    ids = lm.tokenizer.encode(prompt) or [lm.tokenizer.end]
    end = lm.tokenizer.end
    rows = generate_tokens(
        lm.model,
        [ids],
        sampling=sampling,
        max_new_tokens=new,
        stop_tokens=frozenset({end}),
        vocabulary=lm.tokenizer.vocab_size,
    )
    return [token for token in rows[0] if token != end]


def test_generate_is_the_decoded_continuation(lm: LM) -> None:
    assert lm.generate(PROMPT, max_new_tokens=20) == lm.tokenizer.decode(made_tokens(lm, PROMPT, new=20))
    assert lm.generate(PROMPT, max_new_tokens=30, **SAMPLE) == lm.tokenizer.decode(
        made_tokens(lm, PROMPT, new=30, seed=4)
    )
    assert lm.generate(PROMPT, max_new_tokens=0) == ""
    assert lm.config is lm.model.config


@settings(max_examples=25)
@given(
    prompt=st.text(max_size=8),
    seed=st.integers(0, 10_000),
    new=st.integers(1, 40),
    stop=st.lists(st.text("ethoa \ufffd", min_size=1, max_size=2), max_size=2),
)
def test_stream_joined_is_generate(lm: LM, prompt: str, seed: int, new: int, stop: list[str]) -> None:
    settings_ = {**SAMPLE, "seed": seed, "max_new_tokens": new, "stop": stop}
    pieces = list(lm.stream(prompt, **settings_))
    assert all(pieces)
    assert "".join(pieces) == lm.generate(prompt, **settings_)


def test_the_end_token_ends_the_text(lm: LM) -> None:
    """With the end token's logit put on top after three tokens, through a hook on the whole model."""
    calls = []

    def end_now(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        calls.append(output)
        if len(calls) >= 3:
            output[..., lm.tokenizer.end] = 1e9
        return output

    expected = lm.tokenizer.decode(made_tokens(lm, PROMPT, new=3))
    handle = lm.model.register_forward_hook(end_now)
    try:
        assert lm.generate(PROMPT, max_new_tokens=20) == expected
        assert len(calls) == 3
        calls.clear()
        assert "".join(lm.stream(PROMPT, max_new_tokens=20)) == expected
    finally:
        handle.remove()


def test_stop_strings_cut_and_end_the_work(lm: LM) -> None:
    whole = lm.generate(PROMPT, max_new_tokens=40, **SAMPLE)
    assert len(whole) > 12
    for size in (1, 2, 5):
        stop = whole[6 : 6 + size]
        expected = whole[: whole.index(stop)]
        assert lm.generate(PROMPT, max_new_tokens=40, stop=["never this", stop], **SAMPLE) == expected
        assert "".join(lm.stream(PROMPT, max_new_tokens=40, stop=[stop], **SAMPLE)) == expected
    passes = []
    handle = lm.model.register_forward_hook(lambda *_: passes.append(1))
    try:
        lm.generate(PROMPT, max_new_tokens=40, stop=[whole[:3]], **SAMPLE)
    finally:
        handle.remove()
    assert len(passes) < 10


def test_a_list_gives_a_list_that_equals_each_alone(lm: LM) -> None:
    prompts = [PROMPT, "", "The fox said", "狐狸", PROMPT]
    together = lm.generate(prompts, max_new_tokens=25, stop=["e"], **SAMPLE)
    alone = [lm.generate(prompt, max_new_tokens=25, stop=["e"], **SAMPLE) for prompt in prompts]
    assert together[:4] == alone[:4]
    assert len(together) == 5
    assert lm.generate([], max_new_tokens=3) == []
    free = lm.generate([PROMPT, PROMPT], max_new_tokens=25, **SAMPLE)
    assert free[0] != free[1]


def test_a_prompt_that_spells_the_end_token_is_text(lm: LM) -> None:
    assert lm.tokenizer.end not in lm.tokenizer.encode("<|endoftext|>")
    assert isinstance(lm.generate("<|endoftext|>", max_new_tokens=2), str)


def test_beams(lm: LM) -> None:
    text = lm.generate(PROMPT, max_new_tokens=12, beams=4)
    end = frozenset({lm.tokenizer.end})
    best = beam_search(
        lm.model, lm.tokenizer.encode(PROMPT), max_new_tokens=12, width=4, stop_tokens=end, vocabulary=320
    )
    assert text == lm.tokenizer.decode([token for token in best[0].tokens if token not in end])
    assert lm.generate([PROMPT, PROMPT], max_new_tokens=12, beams=4) == [text, text]
    cut = lm.generate(PROMPT, max_new_tokens=12, beams=4, stop=[text[2]])
    assert text[2] not in cut


def test_loglikelihood_is_a_sum_of_log_probabilities(lm: LM) -> None:
    ids = lm.tokenizer.encode(PROMPT + " there was")
    context = len(lm.tokenizer.encode(PROMPT))
    with torch.no_grad():
        steps = lm.model(torch.tensor([ids])).double().log_softmax(-1)[0]
    expected = sum(float(steps[i - 1, ids[i]]) for i in range(context, len(ids)))
    assert lm.loglikelihood(PROMPT, " there was") == pytest.approx(expected, abs=1e-4)
    assert lm.loglikelihood(PROMPT + " ", "there was") == pytest.approx(expected, abs=1e-4)
    both = lm.loglikelihoods([(PROMPT, " there was"), ("", "fox")])
    assert both == pytest.approx([expected, lm.loglikelihood("", "fox")], abs=1e-4)
    assert lm.rolling_loglikelihood("fox") == pytest.approx(both[1], abs=1e-4)
    assert lm.rolling_loglikelihood("the fox said to the crow " * 20) < -100  # many windows


def test_long_prompts(lm: LM) -> None:
    words = "xyz " * 100
    count = len(lm.tokenizer.encode(words))
    for call in (lm.generate, lm.stream):
        with pytest.raises(ValueError, match=rf"{count} tokens, more than this model's context of 64.*--truncate"):
            call(words)
    end_of_it = lm.tokenizer.decode(lm.tokenizer.encode(words)[-64:])
    assert lm.tokenizer.encode(end_of_it) == lm.tokenizer.encode(words)[-64:]
    kept = lm.generate(words, truncate=True, max_new_tokens=50)
    assert kept == lm.generate(end_of_it, max_new_tokens=50) == "".join(lm.stream(words, truncate=True))
    assert isinstance(lm.generate(words, truncate=True, max_new_tokens=20, beams=2), str)


def test_bad_arguments(lm: LM) -> None:
    for arguments, message in [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"max_new_tokens": -3}, "max_new_tokens"),
        ({"stop": "the"}, r"stop=\['the'\]"),
    ]:
        for call in (lm.generate, lm.stream):
            with pytest.raises(ValueError, match=message):
                call(PROMPT, **arguments)
    for arguments in ({"temperature": 1.0}, {"top_k": 3}, {"repetition_penalty": 1.3}):
        with pytest.raises(ValueError, match="beams 4"):
            lm.generate(PROMPT, beams=4, max_new_tokens=3, **arguments)
    with pytest.raises(ValueError, match="at least 1"):
        lm.generate(PROMPT, beams=0)
    with pytest.raises(ValueError, match="continuation is empty"):
        lm.loglikelihood(PROMPT, "")
    with pytest.raises(ValueError, match="surrogate"):
        lm.generate("\ud800")
    with pytest.raises(dataclasses.FrozenInstanceError):
        lm.model = lm.model  # type: ignore[misc]
