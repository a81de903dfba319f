"""/v1/completions through the `openai` package and by hand, beside the model itself."""

import asyncio
import contextlib
import json
import random

import httpx
import openai
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.generate.engine.opening import EngineSettings
from ensue.generate.lm import LM

PROMPT = "The fox said"
SCORED = {"context": "The fox", "continuation": " said to the crow"}


def test_what_is_written_is_what_the_model_writes(server, lm: LM) -> None:
    client = server.openai()
    answer = client.completions.create(model="fox", prompt=PROMPT, max_tokens=20, temperature=0)
    assert answer.choices[0].text == lm.generate(PROMPT, max_new_tokens=20)
    assert answer.choices[0].finish_reason == "length"
    assert answer.model == "fox"
    assert answer.object == "text_completion"
    prompt = len(lm.tokenizer.encode(PROMPT))
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (prompt, 20)
    default = client.completions.create(model="fox", prompt=PROMPT, temperature=0)
    assert default.usage.completion_tokens == 16


@settings(max_examples=20)
@given(
    prompt=st.text(max_size=30),
    temperature=st.sampled_from([0, 0.7, 1.3]),
    top_p=st.sampled_from([1, 0.8]),
    top_k=st.sampled_from([None, 5]),
    seed=st.integers(0, 99),
    stop=st.lists(st.sampled_from(["a", "e ", "\n", "狐", "fox"]), max_size=2),
)
def test_samples_are_those_of_the_same_seed(server, lm: LM, prompt, temperature, top_p, top_k, seed, stop) -> None:
    given = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "seed": seed, "stop": stop}
    expected = lm.generate([prompt, prompt], max_new_tokens=12, **given)
    body = {"prompt": prompt, "max_tokens": 12, "n": 2, **given}
    whole = server.complete(**body)
    assert [choice["text"] for choice in whole["choices"]] == expected
    texts, ends = ["", ""], [None, None]
    for chunk in _events(server, {**body, "stream": True}):
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["text"]
            ends[choice["index"]] = choice["finish_reason"] or ends[choice["index"]]
    assert texts == expected
    assert ends == [choice["finish_reason"] for choice in whole["choices"]]


def test_prompts_may_be_text_tokens_or_lists_of_either(server, lm: LM) -> None:
    client = server.openai()
    texts = [PROMPT, "Once upon", "从前"]
    ids = [lm.tokenizer.encode(text) for text in texts]
    expected = lm.generate(texts, max_new_tokens=8)
    for prompt, wanted in ((PROMPT, expected[:1]), (ids[0], expected[:1]), (texts, expected), (ids, expected)):
        answer = client.completions.create(model="fox", prompt=prompt, max_tokens=8, temperature=0)
        assert [choice.text for choice in answer.choices] == wanted
        assert [choice.index for choice in answer.choices] == list(range(len(wanted)))
    assert server.complete(prompt="", max_tokens=5, temperature=0)["choices"][0]["text"] == lm.generate(
        "", max_new_tokens=5
    )


def test_null_means_left_out(server) -> None:
    body = {"prompt": PROMPT, "seed": 1}
    nulls = dict.fromkeys(
        ("max_tokens", "temperature", "top_p", "n", "best_of", "stop", "logprobs", "stream", "suffix")
    )
    assert server.complete(**body, **nulls)["choices"] == server.complete(**body)["choices"]


def test_guesses_change_nothing(lm: LM, server, start) -> None:
    guessing = start(lm, engine=EngineSettings(cache_bytes=1 << 24, lookup=True))
    for body in ({"stop": "e"}, {"n": 3, "logprobs": 2}, {"stop": ["a", "t"], "frequency_penalty": 0.5}):
        asked = {"prompt": "the wood was the wood was", "max_tokens": 30, "temperature": 0.6, "seed": 2, **body}
        assert guessing.complete(**asked)["choices"] == server.complete(**asked)["choices"]
    assert guessing.service.engine.drafted_tokens


def test_streams_through_the_client(server, lm: LM) -> None:
    stream = server.openai().completions.create(
        model="fox", prompt=PROMPT, max_tokens=20, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == lm.generate(PROMPT, max_new_tokens=20)
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 20
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_many_async_clients_get_their_own(server, lm: LM) -> None:
    prompts = [f"{word} the wood" for word in ("fox", "crow", "night", "tale", "deep", "voice")] * 3

    async def ask() -> list[str]:
        http = httpx.AsyncClient(trust_env=False, timeout=60)
        async with openai.AsyncOpenAI(base_url=f"{server.address}/v1", api_key="none", http_client=http) as client:

            async def one(number: int, prompt: str) -> str:
                if number % 2:
                    answer = await client.completions.create(model="fox", prompt=prompt, max_tokens=9, temperature=0)
                    return answer.choices[0].text
                pieces = await client.completions.create(
                    model="fox", prompt=prompt, max_tokens=9, temperature=0, stream=True
                )
                return "".join([piece.choices[0].text async for piece in pieces])

            return await asyncio.gather(*(one(*each) for each in enumerate(prompts)))

    assert asyncio.run(ask()) == lm.generate(prompts, max_new_tokens=9)


def test_log_probabilities_are_the_models(server, lm: LM) -> None:
    answer = server.openai().completions.create(
        model="fox", prompt=PROMPT, max_tokens=6, temperature=0, logprobs=3, echo=True
    )
    choice = answer.choices[0]
    record = choice.logprobs
    prompt = lm.tokenizer.encode(PROMPT)
    assert choice.text.startswith(PROMPT)
    written = json.loads(json.dumps(record.tokens))
    ids = [*prompt, *_greedy(lm, prompt, 6)]
    logs = _logs(lm, ids)
    assert len(written) == len(ids)
    assert record.token_logprobs[0] is None
    assert record.top_logprobs[0] is None
    for place in range(1, len(ids)):
        assert record.token_logprobs[place] == pytest.approx(float(logs[place - 1, ids[place]]), abs=1e-4)
        top = record.top_logprobs[place]
        known = logs[place - 1].argsort(descending=True).tolist()[:3]
        expected = {_text(lm, token): float(logs[place - 1, token]) for token in known if token < 320}
        expected.setdefault(_text(lm, ids[place]), float(logs[place - 1, ids[place]]))
        assert top == pytest.approx(expected, abs=1e-4)
    for token, offset in zip(record.tokens, record.text_offset, strict=True):
        assert token.startswith("bytes:") or choice.text.startswith(token, offset)


@settings(max_examples=15)
@given(data=st.data())
def test_pieces_of_a_stream_make_up_the_whole(server, data: st.DataObject) -> None:
    """Texts, tokens and offsets, with stop strings that take some of them back."""
    body = {
        "prompt": data.draw(st.sampled_from(["The", "狐狸", "Ω", ""])),
        "max_tokens": data.draw(st.integers(0, 12)),
        "temperature": 1.0,
        "seed": data.draw(st.integers(0, 99)),
        "logprobs": data.draw(st.sampled_from([None, 0, 2])),
        "echo": data.draw(st.booleans()),
        "stop": data.draw(st.sampled_from([None, "e", ["th", "狐"], [" "]])),
    }
    (whole,) = server.complete(**body)["choices"]
    joined = {"text": "", "tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for chunk in _events(server, {**body, "stream": True}):
        (choice,) = chunk["choices"]
        joined["text"] += choice["text"]
        for name, values in (choice["logprobs"] or {}).items():
            joined[name] += values or []
    assert joined["text"] == whole["text"]
    if body["logprobs"] is not None:
        record = whole["logprobs"]
        assert joined["tokens"] == record["tokens"]
        assert joined["text_offset"] == record["text_offset"]
        assert joined["token_logprobs"] == record["token_logprobs"]
        assert all(
            offset < max(1, len(whole["text"])) or not token
            for token, offset in zip(record["tokens"], record["text_offset"], strict=True)
        )


def test_the_best_of_several_are_the_likeliest(server) -> None:
    body = {"prompt": PROMPT, "max_tokens": 8, "seed": 3, "logprobs": 0}
    every = server.complete(**body, n=6)["choices"]
    best = server.complete(**body, n=2, best_of=6)
    means = sorted(sum(c["logprobs"]["token_logprobs"]) / len(c["logprobs"]["token_logprobs"]) for c in every)
    found = [sum(c["logprobs"]["token_logprobs"]) / len(c["logprobs"]["token_logprobs"]) for c in best["choices"]]
    assert found == pytest.approx(means[:-3:-1])
    assert best["usage"]["completion_tokens"] == 48


def test_several_texts_share_the_pages_of_their_prompt(server) -> None:
    prompt = "the wood was dark and deep, " * 3
    before = server.service.engine.reused_tokens
    server.complete(prompt=prompt, n=5, max_tokens=3, seed=0)
    assert server.service.engine.reused_tokens - before >= 4 * 16


def test_biases_and_penalties_change_what_is_written(server, lm: LM) -> None:
    first = lm.tokenizer.encode("x")[0]
    forced = server.complete(prompt=PROMPT, max_tokens=4, temperature=0, logit_bias={str(first): 100})
    assert forced["choices"][0]["text"] == "xxxx"
    varied = server.complete(
        prompt=PROMPT, max_tokens=6, temperature=0, logit_bias={str(first): 3}, frequency_penalty=2, presence_penalty=2
    )
    assert varied["choices"][0]["text"].count("x") < 6


def test_requests_in_any_company_get_the_same(server) -> None:
    rng = random.Random(5)
    bodies = [
        {
            "prompt": rng.choice(["the wood was dark ", "", "狐狸"]) * rng.randint(1, 3),
            "max_tokens": rng.randint(0, 20),
            "temperature": rng.choice([0, 0.8, 1.2]),
            "seed": rng.randint(0, 9),
            "n": rng.choice([1, 1, 3]),
            "logprobs": rng.choice([None, 1]),
            "echo": rng.choice([False, True]),
            "stop": rng.choice([None, "e"]),
            "frequency_penalty": rng.choice([0, 0.5]),
        }
        for _ in range(60)
    ]
    alone = [server.complete(**body) for body in bodies]

    async def all_at_once() -> list[dict]:
        """With others that go away in the middle, and that want other things."""
        async with httpx.AsyncClient(base_url=server.address, timeout=60, trust_env=False) as client:

            async def leave(number: int) -> None:
                body = {"prompt": "the wood was", "max_tokens": 60, "n": 2, "seed": number, "ignore_end": True}
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(client.post("/v1/completions", json=body), 0.02 * number)

            others = [asyncio.create_task(leave(number)) for number in range(1, 12)]
            for path, body in (("/v1/embeddings", {"input": ["a", "b c"]}), ("/v1/score", {"items": [SCORED] * 3})):
                others += [asyncio.create_task(client.post(path, json=body)) for _ in range(3)]
            answers = await asyncio.gather(*(client.post("/v1/completions", json=body) for body in bodies))
            await asyncio.gather(*others)
            return [answer.json() for answer in answers]

    for one, other in zip(alone, asyncio.run(all_at_once()), strict=True):
        assert one["choices"] == other["choices"]  # log-probabilities too, to the bit
        assert one["usage"] == other["usage"]


def _events(server, body: dict) -> list[dict]:
    with server.http.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def _logs(lm: LM, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return lm.model(torch.tensor([ids]))[0].log_softmax(-1)


def _greedy(lm: LM, prompt: list[int], most: int) -> list[int]:
    ids = list(prompt)
    for _ in range(most):
        ids.append(int(_logs(lm, ids)[-1, : lm.tokenizer.vocab_size].argmax()))
    return ids[len(prompt) :]


def _text(lm: LM, token: int) -> str:
    data = lm.tokenizer.token_bytes(token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
