"""What cannot be done is answered in OpenAI's form, with words that say what to change."""

import json

import openai
import pytest

from ensue.generate.lm import LM

BAD = [
    ({"prompt": "a", "n": 0}, "n"),
    ({"prompt": "a", "n": 129}, "n"),
    ({"prompt": "a", "best_of": 2, "n": 3}, "best_of"),
    ({"prompt": "a", "best_of": 2, "stream": True}, "best_of"),
    ({"prompt": ["a"] * 100, "n": 2}, "prompt"),
    ({"prompt": "a", "logprobs": 21}, "logprobs"),
    ({"prompt": "a", "logprobs": -1}, "logprobs"),
    ({"prompt": "a", "max_tokens": -1}, "max_tokens"),
    ({"prompt": "a", "max_tokens": 10**400}, "max_tokens"),
    ({"prompt": "a", "temperature": -0.1}, "temperature"),
    ({"prompt": "a", "temperature": float("nan")}, "temperature"),
    ({"prompt": "a", "top_p": 0}, "top_p"),
    ({"prompt": "a", "presence_penalty": 3}, "presence_penalty"),
    ({"prompt": "a", "logit_bias": {"999": 1}}, "logit_bias"),
    ({"prompt": "a", "logit_bias": {"x": 1}}, "logit_bias"),
    ({"prompt": "a", "logit_bias": {"9" * 5000: 1}}, "logit_bias"),
    ({"prompt": "a", "logit_bias": {"5": 101}}, "logit_bias"),
    ({"prompt": "a", "stop": ["a", ""]}, "stop"),
    ({"prompt": "a", "unknown_thing": 1}, "unknown_thing"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [320]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": ["a", 1]}, "prompt"),
    ({"prompt": {"a": 1}}, "prompt"),
    ({"prompt": "\ud800"}, "prompt"),
    ({}, "prompt"),
    ({"prompt": "a", "\ud800": 1}, None),
    ({"prompt": "a", "suffix": "b"}, "suffix"),
    ({"prompt": "a", "response_format": {"type": "yaml"}}, "response_format"),
    ({"prompt": "a", "guided_regex": "("}, "guided_regex"),
    ({"prompt": "a", "guided_regex": "a", "response_format": {"type": "json_object"}}, "guided_regex"),
    (
        {"prompt": "a", "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}},
        "response_format",
    ),
    (
        {
            "prompt": "a",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "integer", "minimum": 3, "maximum": 2}},
            },
        },
        "response_format",
    ),
]


@pytest.mark.parametrize(("body", "param"), BAD)
def test_each_is_a_400_that_names_the_field(server, body: dict, param: str | None) -> None:
    answer = server.http.post("/v1/completions", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_a_prompt_too_long_says_both_lengths(server, lm: LM) -> None:
    prompt = "the wood " * 100
    count = len(lm.tokenizer.encode(prompt))
    with pytest.raises(openai.BadRequestError) as error:
        server.openai().completions.create(model="fox", prompt=prompt, max_tokens=5)
    assert error.value.code == "context_length_exceeded"
    assert str(count) in str(error.value)
    assert str(lm.config.context) in str(error.value)
    answer = server.http.post("/v1/embeddings", json={"input": prompt})
    assert answer.status_code == 400
    assert str(count) in answer.text


def test_as_much_is_written_as_the_context_has_room_for(server, lm: LM) -> None:
    prompt = [5] * (lm.config.context - 3)
    body = {"prompt": prompt, "ignore_end": True}
    assert server.complete(**body)["usage"]["completion_tokens"] == 3
    assert server.complete(prompt=prompt + [5] * 3, max_tokens=0, echo=True)["usage"]["completion_tokens"] == 0
    assert server.http.post("/v1/completions", json={**body, "max_tokens": 4}).status_code == 400


def test_other_models_and_addresses_are_a_404(server) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        server.openai().completions.create(model="gpt-5", prompt="a")
    assert error.value.code == "model_not_found"
    assert "'fox'" in str(error.value)
    with pytest.raises(openai.NotFoundError):
        server.openai().models.retrieve("x/y")
    assert server.http.get("/nowhere").json()["error"]["message"]
    assert server.http.get("/v1/completions").status_code == 405


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[]", b"7", b'"a"', b"[" * 100_000, b'{"prompt": "\xc3"}']
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_bodies_that_are_no_object(server, content: bytes, kind: str) -> None:
    answer = server.http.post("/v1/completions", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_stop_string_that_never_comes(server) -> None:
    (choice,) = server.complete(prompt="The", max_tokens=9, temperature=0, stop="\x00never", ignore_end=True)["choices"]
    assert choice["finish_reason"] == "length"


def test_other_routes_refuse_as_well(server) -> None:
    for path, body in (
        ("/v1/embeddings", {"input": "a", "dimensions": 3}),
        ("/v1/embeddings", {"input": []}),
        ("/v1/embeddings", {"input": ["a"] * 3000}),
        ("/v1/score", {"items": []}),
        ("/v1/score", {"items": [{"context": "a", "continuation": ""}]}),
        ("/v1/score", {"items": [{"context": "a", "continuation": [999]}]}),
        ("/v1/score", {"items": [{"context": "a", "continuation": "b " * 300}]}),
        ("/detokenize", {"tokens": [999]}),
        ("/v1/chat/completions", {"messages": []}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": ""}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "tools": []}),
    ):
        answer = server.http.post(path, json=body)
        assert answer.status_code == 400, (path, body)
        assert answer.json()["error"]["param"]
