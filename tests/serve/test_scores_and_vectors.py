"""Scores and embeddings by the engine's own passes: in the precision that is served, shared beginnings once."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
import torch

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.opening import EngineSettings, open_engine
from ensue.generate.engine.passes import PackedPasses, Tokens
from ensue.generate.lm import LM
from ensue.generate.packed import why_not_packed
from ensue.generate.packing import Precision
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense
from ensue.model.presets import gpt2
from ensue.serve.settings import Limits
from ensue.serve.states import embed

TEXTS = ["The fox said", "从前有一只狐狸", "a", "the wood was dark and deep " * 3, "The fox said to the crow"]
TAILS = [" crow", " wood and the wood", "狐狸", " naïve 🦊"]


def ids_of(lm: LM) -> list[list[int]]:
    return [lm.tokenizer.encode(text) for text in TEXTS]


def states_alone(engine: Engine, ids: list[int]) -> torch.Tensor:
    """Final states of one text, in one pass of an engine that does nothing else."""
    lease = engine.pool.lend(ids, len(ids), reuse=False)
    assert lease is not None
    tables = [torch.tensor([lease.row(g, len(ids))], dtype=torch.int32) for g in range(len(engine.pool.groups))]
    states, _ = engine.passes.run(Tokens(ids, range(len(ids)), [0] * len(ids)), tables, range(len(ids)))
    engine.pool.release(lease)
    return states


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "int4"])
def test_what_is_served_is_what_scores_and_embeds(lm: LM, start: Callable, precision: Precision) -> None:
    """A score is what the prompt's own log-probabilities say, and a vector what the same pass says elsewhere."""
    reason = why_not_packed(lm.config)
    if reason is not None and precision != "fp32":
        pytest.skip(f"no {precision} here: {reason}")
    settings = EngineSettings(precision, cache_bytes=1 << 24)
    here, apart = start(lm, engine=settings), open_engine(lm, settings)
    items = [{"context": ids, "continuation": lm.tokenizer.encode(tail)} for ids in ids_of(lm) for tail in TAILS]
    found = here.http.post("/v1/score", json={"items": items}).json()["data"]
    for item, score in zip(items, found, strict=True):
        body = {"prompt": item["context"] + item["continuation"], "max_tokens": 0, "echo": True, "logprobs": 1}
        told = here.complete(**body)["choices"][0]["logprobs"]
        expected = told["token_logprobs"][len(item["context"]) :]
        assert score["token_logprobs"] == (expected if reason is None else pytest.approx(expected, abs=1e-5))
        best = [max(top.values()) for top in told["top_logprobs"][len(item["context"]) :]]
        assert score["greedy"] == (score["token_logprobs"] == best)
    for pooling in ("last", "mean"):
        body = {"input": ids_of(lm), "pooling": pooling, "normalize": False}
        vectors = here.http.post("/v1/embeddings", json=body).json()["data"]
        for ids, vector in zip(ids_of(lm), vectors, strict=True):
            states = states_alone(apart, ids)
            expected = states[-1] if pooling == "last" else states.mean(0)
            assert vector["embedding"] == pytest.approx(expected.tolist(), abs=1e-5)
    if precision != "fp32":  # and not what the model says in fp32
        exact = lm.loglikelihoods([(TEXTS[0], TAILS[0])])[0]
        assert found[0]["loglikelihood"] != pytest.approx(exact, abs=1e-6)


def test_a_shared_context_is_read_once(lm: LM, start: Callable) -> None:
    here = start(lm)
    context = lm.tokenizer.encode("the wood was dark and deep " * 2)
    items = [{"context": context, "continuation": lm.tokenizer.encode(tail)} for tail in TAILS]
    here.http.post("/v1/score", json={"items": items})
    engine = here.service.engine
    assert engine.reused_tokens == (len(TAILS) - 1) * ((len(context) - 1) // 16 * 16)
    tails = sum(len(item["continuation"]) - 1 for item in items)
    assert engine.read_tokens == len(TAILS) * len(context) + tails - engine.reused_tokens


def test_vectors_are_the_same_bits_in_any_company(lm: LM, start: Callable) -> None:
    if why_not_packed(lm.config) is not None:
        pytest.skip(f"no packed passes here: {why_not_packed(lm.config)}")
    here = start(lm, engine=EngineSettings(cache_bytes=1 << 22, pass_tokens=24))

    def vectors(given: list[list[int]]) -> list[str]:
        body = {"input": given, "encoding_format": "base64"}
        return [each["embedding"] for each in here.http.post("/v1/embeddings", json=body).json()["data"]]

    alone = [vectors([ids])[0] for ids in ids_of(lm)]
    body = {"prompt": ["a", "The fox"] * 8, "max_tokens": 60, "ignore_end": True}
    with ThreadPoolExecutor(1) as others:
        writing = others.submit(here.complete, **body)
        assert vectors(ids_of(lm)) == alone
        assert vectors(ids_of(lm)[::-1]) == alone[::-1]
        writing.result()


def test_texts_wait_for_pages(lm: LM) -> None:
    """All but three are in use: the longer texts are read once they are not."""
    engine = open_engine(lm, EngineSettings(cache_bytes=1 << 22, pass_tokens=16))
    texts = [[1] * length for length in (3, 100, 128, 40, 17)]
    held = engine.pool.lend([2] * 16, 16 * (engine.pool.count - 3), reuse=False)
    assert held is not None
    pieces = embed(engine, texts, last=False)
    for _ in range(50):
        next(pieces)
    engine.pool.release(held)
    found = _returned(pieces)
    assert engine.pool.available == engine.pool.count
    for ids, vector in zip(texts, found, strict=True):
        with torch.no_grad():
            expected = lm.model.hidden(torch.tensor([ids]))[0].mean(0)
        assert vector.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("width", [64, 48])  # of which the C++ pass takes the first alone
def test_layers_whose_pages_are_written_over(lm: LM, width: int) -> None:
    config = gpt2(layers=2, width=width, heads=3 if width == 48 else 2, context=128, vocab=332)
    model = GPT.build(replace(config, patterns=(Dense(), Banded(19))), 3).eval()
    engine = open_engine(LM(model, lm.tokenizer, lm.path), EngineSettings(cache_bytes=1 << 22, pass_tokens=16))
    assert isinstance(engine.passes, PackedPasses) == (width == 64 and why_not_packed(model.config) is None)
    texts = [[number % 300 for number in range(start, start + 97)] for start in (0, 50)]
    found = _returned(embed(engine, texts, last=True))
    for ids, vector in zip(texts, found, strict=True):
        with torch.no_grad():
            expected = model.hidden(torch.tensor([ids]))[0, -1]
        assert vector.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_more_items_than_the_queue_has_places(lm: LM, start: Callable) -> None:
    """They are read few at a time, beside what others ask for."""
    here = start(lm, engine=EngineSettings(cache_bytes=1 << 20, most=4), limits=Limits(queue=100, choices=4))
    items = [{"context": [number % 300, 1, 2], "continuation": [number % 7]} for number in range(2000)]

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=here.address, timeout=60, trust_env=False) as client:
            scored = [client.post("/v1/score", json={"items": items}) for _ in range(2)]
            written = [client.post("/v1/completions", json={"prompt": "a", "max_tokens": 20}) for _ in range(4)]
            return await asyncio.gather(*scored, *written)

    answers = asyncio.run(ask())
    assert {answer.status_code for answer in answers} == {200}
    one, other = (answer.json()["data"] for answer in answers[:2])
    assert [each["loglikelihood"] for each in one] == [each["loglikelihood"] for each in other]
    engine = here.service.engine
    assert here.service.worker.outstanding == 0
    assert engine.pool.available == engine.pool.count


@pytest.mark.parametrize("route", ["score", "embeddings"])
def test_a_client_that_goes_away_is_read_nothing_more_for(make_lm: Callable, start: Callable, route: str) -> None:
    lm = make_lm(context=2048)
    here = start(lm, engine=EngineSettings(cache_bytes=1 << 25, pass_tokens=64))
    long = [[number, *[5] * 2000] for number in range(200)]
    given = {"items": [{"context": ids, "continuation": [1]} for ids in long]} if route == "score" else {"input": long}
    body, engine, worker = json.dumps(given).encode(), here.service.engine, here.service.worker
    with socket.create_connection(("127.0.0.1", int(here.address.rsplit(":", 1)[1]))) as client:
        head = f"POST /v1/{route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        client.sendall(head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body)
        _until(lambda: engine.pool.available < engine.pool.count)
    _until(lambda: worker.outstanding == 0 and engine.pool.available == engine.pool.count)
    assert engine.read_tokens < 100_000
    assert here.complete(prompt="a")["choices"]


def _returned(pieces: Generator[None, None, torch.Tensor]) -> torch.Tensor:
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return end.value


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)
