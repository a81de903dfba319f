"""A completions server in this process that computes what it answers with a small model, and fails when it is told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from ensue.evaluate.remote import RemoteScorer
from ensue.evaluate.remote_server import Patience
from ensue.generate.lm import LM
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.tokens.byte_level import train_byte_level

SENTENCES = [
    "Once upon a time there was a fox who lived in the wood, and the wood was dark and deep.",
    "The fox said to the crow: what a fine voice you have! The crow opened its mouth to sing.",
    "从前有一只狐狸住在森林里，狐狸很聪明。从前有一只乌鸦住在森林里。",
    "Ωμέγα και άλφα: naïve café, señor! Les yeux bleus, où est-il?\n\nThe end of the tale.",
]
KEY = "sk-very-secret-1234"


@pytest.fixture(scope="session")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LM:
    """A GPT-2 of a few thousand weights with opinions, in float64; its tokenizer is saved in its folder."""
    torch.set_num_threads(1)
    tokenizer = train_byte_level(iter(SENTENCES * 3), vocab_size=330)
    model = GPT.build(gpt2(layers=2, width=24, heads=3, context=64, vocab=tokenizer.vocab_size), 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    return LM(model.double().eval(), tokenizer, folder)


@dataclass
class Habits:
    """What real servers do differently, and what goes wrong: `faults` are taken from the front, one an answer.

    offsets  `right` characters; `drifting` as where each part of a character counts as one; `none`
    names    of tokens: their text; or `ids`, as vLLM gives on request
    """

    zero: str = "echoes"  # or `refused`, or `ignored`
    offsets: str = "right"
    names: str = "text"
    beginning: bool = False  # puts the end token before every prompt
    top: bool = True
    usage: bool = True
    window: bool = True
    echo: bool = True
    logprobs: str = "legacy"  # or `chat`, or `none`
    faults: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_once: int = 0
    over: threading.Event = field(default_factory=threading.Event)


class Serving:
    """The model's side: what it answers to the body of a request."""

    def __init__(self, lm: LM, habits: Habits) -> None:
        self.lm, self.habits = lm, habits
        self.lock = threading.Lock()
        self.running = 0

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        prompt, new = body["prompt"], body["max_tokens"]
        ids = self.lm.tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
        if self.habits.beginning:
            ids = [self.lm.tokenizer.end, *ids]
        if len(ids) + new > self.lm.config.context:
            return 400, {"error": {"message": f"maximum context length is {self.lm.config.context} tokens"}}
        if new == 0 and self.habits.zero == "refused":
            return 400, {"error": {"message": "max_tokens must be at least 1"}}
        if new == 0 and self.habits.zero == "ignored":
            new = 7
        with self.lock:
            made = self._write(ids, new, body)
            text = self._cut(self.lm.tokenizer.decode(made), body.get("stop") or [])
            choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": "length"}
            if "logprobs" in body:
                echo = body.get("echo") and self.habits.echo
                shown = [*ids, *made] if echo else made
                if echo:
                    choice["text"] = self.lm.tokenizer.decode(ids) + text
                record = self._record([*ids, *made], len(shown))
                choice["logprobs"] = {"legacy": record, "chat": {"content": []}, "none": None}[self.habits.logprobs]
        answer = {"id": "cmpl-1", "object": "text_completion", "model": body["model"], "choices": [choice]}
        if self.habits.usage:
            answer["usage"] = {"prompt_tokens": len(ids), "completion_tokens": len(made)}
        return 200, answer

    def _write(self, ids: list[int], new: int, body: dict[str, Any]) -> list[int]:
        made: list[int] = []
        with torch.no_grad():
            for _ in range(new):
                logits = self.lm.model(torch.tensor([[*ids, *made]]))[0, -1]
                # The last of the top_k likeliest, to see that top_k came.
                token = int(logits.topk(body["top_k"] if body.get("temperature") else 1).indices[-1])
                if token == self.lm.tokenizer.end and not body.get("echo"):
                    break
                made.append(token)
        return made

    def _cut(self, text: str, stops: list[str]) -> str:
        return text[: min([text.find(stop) for stop in stops if stop in text], default=len(text))]

    def _name(self, token: int) -> str:
        return f"token_id:{token}" if self.habits.names == "ids" else self.lm.tokenizer.decode([token])

    def _record(self, ids: list[int], count: int) -> dict[str, Any]:
        with torch.no_grad():
            logits = self.lm.model(torch.tensor([ids]))[0]
            steps = logits - logits.logsumexp(-1, keepdim=True)
        tokens = [self._name(token) for token in ids]
        nats: list[Any] = [None] + [float(steps[place, token]) for place, token in enumerate(ids[1:])]
        tops: list[Any] = [None]
        for place, token in enumerate(ids[1:]):
            best = int(steps[place].argmax())
            tops.append({tokens[place + 1]: float(steps[place, token])})
            tops[-1].setdefault(self._name(best), float(steps[place, best]))
        drifting, right, starts = 0, [], []
        for place in range(len(ids)):
            starts.append(drifting)
            drifting += len(self.lm.tokenizer.decode([ids[place]]))
            before = b"".join(map(self.lm.tokenizer.token_bytes, ids[:place]))
            right.append(len(before.decode("utf-8", "ignore")))
        offsets = {"right": right, "drifting": starts, "none": None}[self.habits.offsets]
        record = {"tokens": tokens, "token_logprobs": nats, "top_logprobs": tops if self.habits.top else None}
        cut = {name: values and values[len(ids) - count :] for name, values in record.items()}
        return {**cut, "text_offset": offsets and offsets[len(ids) - count :]}


def _handler(serving: Serving) -> type[BaseHTTPRequestHandler]:
    habits = serving.habits

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            if not habits.window:
                return self.reply(404, {"detail": "Not Found"})
            self.reply(200, {"data": [{"id": "tiny", "max_model_len": serving.lm.config.context}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            serving.running += 1
            habits.at_once = max(habits.at_once, serving.running)
            habits.bodies.append(body)
            habits.times.append(time.monotonic())
            habits.keys.append(self.headers.get("authorization"))
            time.sleep(0.005)
            try:
                self.misbehave(habits.faults.pop(0) if habits.faults else "", body)
            finally:
                serving.running -= 1

        def misbehave(self, fault: str, body: dict[str, Any]) -> None:
            if self.path != "/v1/completions":
                self.reply(404, {"error": {"message": f"no {self.path}"}})
            elif fault == "slow":
                habits.over.wait()
                self.close_connection = True
            elif fault == "closes":
                self.close_connection = True
            elif fault == "half":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"choices": [')
                self.close_connection = True
            elif fault == "garbage":
                self.reply(200, None, raw=b"<html>It works!</html>")
            elif fault.isdigit():
                self.reply(int(fault), {"error": {"message": f"not now, {self.headers.get('authorization')}"}})
            elif fault.startswith("429 after "):
                self.reply(429, {"error": {"message": "too many"}}, wait=fault.removeprefix("429 after "))
            else:
                self.reply(*serving.answer(body))

        def reply(self, status: int, answer: Any, *, raw: bytes | None = None, wait: str | None = None) -> None:
            data = raw if raw is not None else json.dumps(answer).encode()
            self.send_response(status)
            if wait is not None:
                self.send_header("Retry-After", wait)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


@dataclass
class Running:
    """A server that is up: `address`, and `habits` that can be changed meanwhile."""

    address: str
    habits: Habits
    httpd: ThreadingHTTPServer


@pytest.fixture
def serve(lm: LM) -> Iterator[Callable[..., Running]]:
    """Start servers of the small model with the given habits."""
    running: list[Running] = []

    def start(**habits: Any) -> Running:
        held = Habits(**habits)
        httpd = ThreadingHTTPServer(("127.0.0.1", 0), _handler(Serving(lm, held)))
        httpd.daemon_threads = True
        threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        running.append(Running(f"http://127.0.0.1:{httpd.server_address[1]}/v1", held, httpd))
        return running[-1]

    yield start
    for server in running:
        server.habits.over.set()
        server.httpd.shutdown()
        server.httpd.server_close()


@pytest.fixture
def connect(lm: LM, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RemoteScorer]]:
    """Scorers over a server, with the model's tokenizer unless told, that hardly pause between tries."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    scorers: list[RemoteScorer] = []

    def make(server: Running, *, tokenizer: Path | None = lm.path, **more: Any) -> RemoteScorer:
        patience = Patience(answer=60, tries=4, pause=0.02, longest=1.0)
        scorers.append(RemoteScorer(server.address, "tiny", tokenizer=tokenizer, **{"patience": patience, **more}))
        return scorers[-1]

    yield make
    for scorer in scorers:
        scorer.close()
