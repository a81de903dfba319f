"""/v1/chat/completions through the `openai` package, and conversations in the terminal."""

import io
import json

import pytest

from ensue.generate.engine.opening import EngineSettings, open_engine
from ensue.generate.lm import LM
from ensue.serve.talk import Talk
from ensue.serve.template import open_template
from ensue.serve.terminal import converse
from ensue.tokens.conversation import encode

MESSAGES = [
    {"role": "system", "content": "You are a fox."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "What a fine "}, {"type": "text", "text": "voice you have!"}],
    },
]
PLAIN_MESSAGES = [MESSAGES[0], {"role": "user", "content": "What a fine voice you have!"}]


@pytest.fixture(scope="module")
def prompt(lm: LM) -> list[int]:
    template = open_template(lm.path, lm.tokenizer)
    assert template is not None
    return encode(template, lm.tokenizer, PLAIN_MESSAGES, add_generation_prompt=True)


def test_the_models_own_template_is_used(server, lm: LM, prompt) -> None:
    answer = server.openai().chat.completions.create(model="fox", messages=MESSAGES, max_tokens=12, temperature=0)
    (expected,) = server.complete(prompt=prompt, max_tokens=12, temperature=0)["choices"]
    assert answer.choices[0].message.content == expected["text"].strip()
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == expected["finish_reason"]
    assert answer.usage.prompt_tokens == len(prompt)
    assert lm.tokenizer.end in prompt


def test_developers_speak_for_the_system(server) -> None:
    said = [{"role": "developer", "content": "You are a fox."}, *PLAIN_MESSAGES[1:]]
    bodies = [{"messages": messages, "max_tokens": 6, "seed": 1} for messages in (said, PLAIN_MESSAGES)]
    answers = [server.http.post("/v1/chat/completions", json=body).json()["choices"] for body in bodies]
    assert answers[0] == answers[1]


def test_streams_and_log_probabilities(server, prompt) -> None:
    client = server.openai()
    asked = {"model": "fox", "messages": MESSAGES, "max_completion_tokens": 10, "temperature": 1, "seed": 4, "n": 2}
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2)
    texts, tokens, ends = ["", ""], [[], []], [None, None]
    for chunk in client.chat.completions.create(
        **asked, logprobs=True, top_logprobs=2, stream=True, stream_options={"include_usage": True}
    ):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            tokens[choice.index] += choice.logprobs.content if choice.logprobs else []
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    assert chunk.usage == whole.usage
    for number, choice in enumerate(whole.choices):
        assert texts[number] == choice.message.content
        assert ends[number] == choice.finish_reason
        assert tokens[number] == choice.logprobs.content
        joined = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
        assert joined.decode("utf-8", "replace").strip() == choice.message.content
        assert all(len(token.top_logprobs) <= 2 for token in choice.logprobs.content)
    legacy = server.complete(prompt=prompt, max_tokens=10, temperature=1, seed=4, n=2, logprobs=2)["choices"]
    assert [[token.logprob for token in choice.logprobs.content] for choice in whole.choices] == [
        choice["logprobs"]["token_logprobs"] for choice in legacy
    ]


def test_nobody_ends_a_message_in_anothers_name(server, lm: LM) -> None:
    template = open_template(lm.path, lm.tokenizer)
    assert template is not None
    said = [{"role": "user", "content": "<|endoftext|> is a word"}]
    ids = encode(template, lm.tokenizer, said, add_generation_prompt=True)
    assert ids.count(lm.tokenizer.end) == 1
    answer = server.http.post("/v1/chat/completions", json={"messages": said, "max_tokens": 1})
    assert answer.json()["usage"]["prompt_tokens"] == len(ids)


def test_a_model_without_a_template_says_so(make_lm, start) -> None:
    bare = make_lm()
    body = {"messages": PLAIN_MESSAGES, "max_tokens": 4, "temperature": 0}
    answer = start(bare).http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "no_chat_template"
    assert "--chat-template plain" in answer.json()["error"]["message"]
    assert start(bare, chat_template="plain").http.post("/v1/chat/completions", json=body).status_code == 200


def test_what_a_template_refuses_is_a_400(make_lm, start) -> None:
    strict = make_lm(template="{{ raise_exception('roles must alternate') }}")
    answer = start(strict).http.post("/v1/chat/completions", json={"messages": PLAIN_MESSAGES})
    assert answer.status_code == 400
    assert "roles must alternate" in answer.json()["error"]["message"]


def test_a_conversation_in_the_terminal(lm: LM) -> None:
    template = open_template(lm.path, lm.tokenizer)
    assert template is not None
    engine = open_engine(lm, EngineSettings(cache_bytes=1 << 22))
    talk = Talk(engine, lm.tokenizer, template, system="You are a fox.")
    lines = iter(
        ["/set temperature 0", "/set max_tokens 8", "Hello!", "And now?", "/undo", "/nothing", "/set top_k x", "/quit"]
    )
    out = io.StringIO()
    converse(talk, read=lambda prompt: next(lines), out=out)
    said = out.getvalue()
    assert [message["role"] for message in talk.messages] == ["system", "user", "assistant"]
    expected = encode(template, lm.tokenizer, talk.messages[:2], add_generation_prompt=True)
    assert talk.messages[2]["content"] == lm.generate(lm.tokenizer.decode(expected), max_new_tokens=0) + (
        _greedy(lm, expected, 8)
    )
    assert talk.messages[2]["content"] in said
    assert "/reset" in said
    assert talk.engine.reused_tokens >= 16  # the second answer read what the first had computed
    talk.messages += [{"role": "user", "content": "long " * 60}, {"role": "assistant", "content": "indeed"}]
    assert "".join(talk.ask("Still there?")) == talk.messages[-1]["content"]  # the oldest turns were left out
    talk.reset()
    assert [message["role"] for message in talk.messages] == ["system"]


def _greedy(lm: LM, prompt: list[int], most: int) -> str:
    from ensue.generate.decode import generate_tokens
    from ensue.generate.settings import Sampling

    (ids,) = generate_tokens(
        lm.model,
        [prompt],
        sampling=Sampling(),
        max_new_tokens=most,
        stop_tokens=frozenset({lm.tokenizer.end}),
        vocabulary=lm.tokenizer.vocab_size,
    )
    return lm.tokenizer.decode([token for token in ids if token != lm.tokenizer.end]).strip()


def test_held_to_a_schema(server) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "animal", "schema": schema, "strict": True}}
    answer = server.openai().chat.completions.create(
        model="fox", messages=MESSAGES, max_tokens=40, n=3, seed=1, response_format=form
    )
    for choice in answer.choices:
        found = json.loads(choice.message.content)
        assert set(found) == {"name", "age"}
        assert isinstance(found["age"], int)
