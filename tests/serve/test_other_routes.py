"""Embeddings, scores, tokens, and what is said of the server itself."""

import base64
import json

import httpx
import numpy as np
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from ensue.generate.lm import LM

TEXTS = ["The fox said", "从前有一只狐狸", "a", "the wood was dark and deep " * 3]


def _states(lm: LM, text: str) -> torch.Tensor:
    with torch.no_grad():
        return lm.model.hidden(torch.tensor([lm.tokenizer.encode(text)]))[0]


def test_embeddings_are_the_models_states(server, lm: LM) -> None:
    answer = server.openai().embeddings.create(model="fox", input=TEXTS)  # the client asks for base64
    for text, found in zip(TEXTS, answer.data, strict=True):
        mean = _states(lm, text).mean(0)
        assert found.embedding == pytest.approx((mean / mean.norm()).tolist(), abs=1e-5)
    assert answer.usage.prompt_tokens == sum(len(lm.tokenizer.encode(text)) for text in TEXTS)
    body = {"input": [lm.tokenizer.encode(text) for text in TEXTS], "pooling": "last", "normalize": False}
    given = server.http.post("/v1/embeddings", json=body).json()
    for text, found in zip(TEXTS, given["data"], strict=True):
        assert found["embedding"] == pytest.approx(_states(lm, text)[-1].tolist(), abs=1e-4)
    packed = server.http.post("/v1/embeddings", json={"input": "a", "encoding_format": "base64"}).json()
    values = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4")
    assert np.linalg.norm(values) == pytest.approx(1, abs=1e-5)


def test_scores_are_those_of_the_model(server, lm: LM) -> None:
    pairs = [("The fox", " said"), ("The fox", " was dark"), ("", "从前"), ("a " * 200, "b"), ("x ", "y")]
    body = {"items": [{"context": context, "continuation": after} for context, after in pairs]}
    answer = server.http.post("/v1/score", json=body).json()
    expected = lm.loglikelihoods(pairs)
    assert [each["loglikelihood"] for each in answer["data"]] == pytest.approx(expected, abs=1e-5)
    for each in answer["data"]:
        assert sum(each["token_logprobs"]) == pytest.approx(each["loglikelihood"])
        assert len(each["tokens"]) == len(each["token_logprobs"])
    ids = {"context": lm.tokenizer.encode("The fox"), "continuation": lm.tokenizer.encode(" said")}
    by_ids = server.http.post("/v1/score", json={"items": [ids]}).json()
    assert by_ids["data"][0]["loglikelihood"] == pytest.approx(expected[0], abs=1e-5)


def test_tokens_there_and_back(server, lm: LM) -> None:
    for text in (*TEXTS, "", "naïve 🦊"):
        cut = server.http.post("/tokenize", json={"prompt": text}).json()
        assert cut["tokens"] == lm.tokenizer.encode(text)
        assert cut["count"] == len(cut["tokens"])
        back = server.http.post("/detokenize", json={"tokens": cut["tokens"]}).json()
        assert back["prompt"] == text
    special = server.http.post("/tokenize", json={"prompt": "a<|endoftext|>"}).json()["tokens"]
    assert special[-1] == lm.tokenizer.end
    plain = server.http.post("/tokenize", json={"prompt": "a<|endoftext|>", "parse_special": False}).json()["tokens"]
    assert plain == lm.tokenizer.encode("a<|endoftext|>")


def test_what_is_served(server, lm: LM) -> None:
    client = server.openai()
    (model,) = client.models.list().data
    assert model.id == "fox"
    assert client.models.retrieve("fox").max_model_len == lm.config.context
    assert server.http.get("/healthz").json() == {"status": "ok"}
    assert server.http.get("/readyz").status_code == 200
    pages = server.http.get("/docs")
    assert pages.status_code == 200
    assert "/v1/completions" in pages.text
    assert "http" not in pages.text.split("<body")[0].replace("http-equiv", "")  # nothing from elsewhere is loaded


def test_metrics_count_what_was_done(lm: LM, start) -> None:
    here = start(lm)
    prompt = lm.tokenizer.encode("the wood was dark and deep, the wood was dark and deep")
    here.complete(prompt=prompt, n=2, max_tokens=5, seed=1, ignore_end=True)
    with pytest.raises(AssertionError):
        here.complete(prompt=prompt, n=0)
    told = {}
    for family in text_string_to_metric_families(here.http.get("/metrics").text):
        for sample in family.samples:
            told[(sample.name, *sorted(sample.labels.values()))] = sample.value
    assert told[("ensue_tokens_written_total",)] == 10
    assert told[("ensue_tokens_reused_total",)] == (len(prompt) - 1) // 16 * 16
    assert told[("ensue_tokens_read_total",)] == 2 * (len(prompt) + 4) - told[("ensue_tokens_reused_total",)]
    assert told[("ensue_requests_total", "/v1/completions", "200")] == 1
    assert told[("ensue_requests_total", "/v1/completions", "400")] == 1
    for name in ("time_to_first_token", "time_per_token", "request"):
        assert told[(f"ensue_{name}_seconds_count",)] == 2
    assert told[("ensue_requests_waiting",)] == told[("ensue_requests_running",)] == 0
    assert told[("ensue_cache_use_ratio",)] == 0
    assert told[("ensue_cache_pages_kept",)] > 0
    assert told[("ensue_batch_size_count",)] > 0


def test_texts_are_logged_only_where_that_was_asked_for(lm: LM, start, caplog) -> None:
    body = {"prompt": "a secret 狐", "max_tokens": 3, "temperature": 0}
    with caplog.at_level("INFO"):
        start(lm).complete(**body)
    assert "secret" not in caplog.text
    with caplog.at_level("INFO"):
        here = start(lm, log_text=True)
        (choice,) = here.complete(**body)["choices"]
        here.http.post("/v1/completions", json={**body, "stream": True})
        here.http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}], "stream": True})
    records = [json.loads(record.message) for record in caplog.records if record.name == "ensue.serve.text"]
    assert records[0] == records[1] == {"prompts": ["a secret 狐"], "answers": [choice["text"]]}
    assert "hi" in records[2]["prompts"][0]


def test_cross_origin_is_off_unless_asked_for(lm: LM, server, start) -> None:
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in server.http.options("/v1/completions", headers=asked).headers
    open_to = start(lm, origins=("https://example.org",), key="k")
    allowed = open_to.http.options("/v1/completions", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://example.org"
    other = open_to.http.options("/v1/completions", headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_another_name_for_this_machine_is_refused(server) -> None:
    for host, status in (("evil.example", 403), ("localhost:1", 200), ("[::1]:80", 200), ("127.0.0.1", 200)):
        answer = httpx.get(f"{server.address}/v1/models", headers={"Host": host}, trust_env=False)
        assert answer.status_code == status


def test_a_key_is_asked_for(lm: LM, start) -> None:
    here = start(lm, key="sk-fox-狐")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "sk-fox"}):
        answer = here.http.post("/v1/completions", json={"prompt": "a"}, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert here.http.get("/metrics", headers=headers).status_code == 401
    assert here.http.get("/healthz").status_code == 200
    sent = {"Authorization": "Bearer sk-fox-狐".encode()}
    assert here.http.post("/v1/completions", json={"prompt": "a"}, headers=sent).status_code == 200
