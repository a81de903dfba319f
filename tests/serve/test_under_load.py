"""A bounded queue, limits, clients that go away or read slowly, and an end that finishes what runs."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable

import httpx
import openai
import pytest

from ensue.generate.engine.opening import EngineSettings
from ensue.generate.lm import LM
from ensue.serve.settings import Limits, ServeSettings

LONG = {"prompt": "The fox", "max_tokens": 4000, "ignore_end": True, "temperature": 0}


@pytest.fixture(scope="module")
def slow_lm(make_lm: Callable[..., LM]) -> LM:
    """With a context so long that a text takes seconds."""
    return make_lm(context=8192)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_full_queue_is_a_429_that_says_when_to_come_back(slow_lm: LM, start) -> None:
    here = start(slow_lm, limits=Limits(queue=2, choices=2))
    engine = here.service.engine
    with here.http.stream("POST", "/v1/completions", json={**LONG, "stream": True, "n": 2}) as answer:
        lines = answer.iter_lines()  # kept: without it, httpx hangs up
        next(lines)
        with pytest.raises(openai.RateLimitError) as error:
            here.openai().completions.create(model="fox", prompt="a")
        assert int(error.value.response.headers["retry-after"]) >= 1
        assert here.http.post("/v1/embeddings", json={"input": "a"}).status_code == 429
        assert here.http.get("/readyz").status_code == 200
    until(lambda: here.service.worker.outstanding == 0)
    assert not engine.going
    assert here.complete(prompt="a")["choices"]


def test_every_request_is_answered_or_refused(make_lm, start) -> None:
    here = start(make_lm(), engine=EngineSettings(cache_bytes=1 << 21, most=4), limits=Limits(queue=12, choices=4))

    async def ask() -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=here.address, limits=limits, timeout=60, trust_env=False) as client:

            async def one(number: int) -> int:
                body = {"prompt": "a" * (number % 7), "max_tokens": 10, "seed": number, "stream": number % 2 == 1}
                return (await client.post("/v1/completions", json=body)).status_code

            return await asyncio.gather(*map(one, range(120)))

    statuses = asyncio.run(ask())
    assert set(statuses) == {200, 429}
    until(lambda: here.service.worker.outstanding == 0)
    assert here.service.engine.pool.available == here.service.engine.pool.count


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(slow_lm: LM, start, stream: bool) -> None:
    here = start(slow_lm)
    engine = here.service.engine
    body = json.dumps({**LONG, "stream": stream, "n": 3}).encode()
    with socket.create_connection(("127.0.0.1", int(here.address.rsplit(":", 1)[1]))) as client:
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        client.sendall(head + str(len(body)).encode() + b"\r\n\r\n" + body)
        until(lambda: engine.going == 3)
        if stream:
            assert client.recv(100)
    read = engine.read_tokens
    until(lambda: engine.going == 0)
    assert engine.read_tokens - read < 3 * 1000  # long before their end
    assert engine.pool.available == engine.pool.count


def test_a_stop_string_frees_its_place_at_once(server) -> None:
    engine = server.service.engine
    body = {"prompt": "The", "max_tokens": 100, "temperature": 0, "ignore_end": True}
    (whole,) = server.complete(**body)["choices"]
    stop = whole["text"][4:6]
    before = engine.read_tokens
    (cut,) = server.complete(**body, stop=stop)["choices"]
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]
    assert cut["finish_reason"] == "stop"
    assert engine.read_tokens - before < 20


def test_too_large_too_long_and_too_many(slow_lm: LM, start) -> None:
    scored = {**LONG, "logprobs": 5}  # which takes longer
    here = start(slow_lm, limits=Limits(body=2000, seconds=0.2, tokens=5000, queue=128))
    assert here.http.post("/v1/completions", json={"prompt": "a" * 3000}).status_code == 413

    def pieces():
        for _ in range(30):
            yield b" " * 100

    told = here.http.post("/v1/completions", content=pieces(), headers={"Content-Type": "application/json"})
    assert told.status_code == 413
    assert told.json()["error"]["code"] == "too_large"
    refused = here.http.post("/v1/completions", json={"prompt": "a", "max_tokens": 5001})
    assert refused.status_code == 400
    assert "5,000" in refused.json()["error"]["message"]
    late = here.http.post("/v1/completions", json=scored)
    assert late.status_code == 504
    assert late.json()["error"]["code"] == "timeout"
    with here.http.stream("POST", "/v1/completions", json={**scored, "stream": True}) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "timeout"
    with pytest.raises(openai.APIError):
        list(
            here.openai().completions.create(
                model="fox",
                stream=True,
                extra_body={"ignore_end": True},
                **{"prompt": "a", "max_tokens": 4000, "logprobs": 5},
            )
        )
    until(lambda: here.service.engine.going == 0)


def test_a_client_that_reads_slowly_holds_nobody_up(slow_lm: LM, start) -> None:
    here = start(slow_lm)
    body = json.dumps({**LONG, "stream": True, "logprobs": 5}).encode()
    with socket.create_connection(("127.0.0.1", int(here.address.rsplit(":", 1)[1]))) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        client.sendall(head + str(len(body)).encode() + b"\r\n\r\n" + body)
        until(lambda: here.service.engine.going == 1)
        assert here.complete(prompt="a", max_tokens=5)["choices"]


def test_what_runs_is_finished_when_the_server_ends(slow_lm: LM, serving) -> None:
    answers: list[httpx.Response] = []
    with serving(slow_lm) as here:
        asking = threading.Thread(
            target=lambda: answers.append(
                httpx.post(
                    f"{here.address}/v1/completions", json={**LONG, "max_tokens": 300}, timeout=60, trust_env=False
                )
            )
        )
        asking.start()
        until(lambda: here.service.engine.going == 1)
    asking.join(20)
    assert answers[0].json()["usage"]["completion_tokens"] == 300
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{here.address}/healthz", trust_env=False)


def test_a_failing_step_is_answered_and_survived(make_lm, start, caplog) -> None:
    lm = make_lm()
    here = start(lm)
    run = here.service.engine.passes.run

    def broken(*given: object) -> None:
        raise RuntimeError("the machine is on fire")

    here.service.engine.passes.run = broken
    answer = here.http.post("/v1/completions", json={"prompt": "a"})
    assert answer.status_code == 500
    assert "fire" not in answer.text
    here.service.engine.passes.run = run
    assert here.complete(prompt="a")["choices"]


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="ENSUE_API_KEY"):
        ServeSettings("fox", host="0.0.0.0")
    with pytest.raises(ValueError, match="empty"):
        ServeSettings("fox", key=" ")
    with pytest.raises(ValueError, match="65535"):
        ServeSettings("fox", port=70_000)
    assert "sk-secret" not in repr(ServeSettings("fox", host="0.0.0.0", key="sk-secret"))
    assert ServeSettings("fox", host="::1").key is None
