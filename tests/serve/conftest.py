"""A small model with opinions, served by uvicorn in a thread of this process."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import openai
import pytest
import torch
import uvicorn

from ensue.generate.engine.opening import EngineSettings, open_engine
from ensue.generate.lm import LM
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.serve.app import guarded, make_app
from ensue.serve.running import make_service
from ensue.serve.service import Service
from ensue.serve.settings import Limits, ServeSettings
from ensue.tokens.byte_level import train_byte_level

SENTENCES = [
    "Once upon a time there was a fox who lived in the wood, and the wood was dark and deep.",
    "The fox said to the crow: what a fine voice you have! The crow opened its mouth to sing.",
    "从前有一只狐狸住在森林里，狐狸很聪明。天地玄黃，宇宙洪荒。",
    "Ωμέγα και άλφα: naïve café, señor 🦊🌲! Les yeux bleus, où est-il?\n\nThe end of the tale.",
]
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


class Served:
    """A server that is up, and clients of it."""

    def __init__(self, service: Service, address: str) -> None:
        self.service, self.address = service, address
        self.http = httpx.Client(base_url=address, timeout=60, trust_env=False)

    def openai(self, key: str = "none", **more: object) -> openai.OpenAI:
        http = httpx.Client(trust_env=False, timeout=60)
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=key, http_client=http, max_retries=0, **more)

    def complete(self, **body: object) -> dict:
        answer = self.http.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def served(
    lm: LM, *, engine: EngineSettings | None = None, limits: Limits | None = None, **settings: object
) -> Iterator[Served]:
    """A server of `lm` on a free port, until the end of the block."""
    chosen = ServeSettings("fox", port=0, limits=limits or Limits(), **settings)
    service = make_service(lm, chosen, open_engine(lm, engine or EngineSettings(cache_bytes=1 << 26)))
    server = uvicorn.Server(
        uvicorn.Config(guarded(make_app(service), service), port=0, log_level="error", lifespan="on")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    here = Served(service, f"http://127.0.0.1:{port}")
    try:
        yield here
    finally:
        here.http.close()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_lm(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LM]:
    def make(*, context: int = 128, template: str | None = None, seed: int = 0) -> LM:
        tokenizer = train_byte_level(iter(SENTENCES * 3), vocab_size=320)
        model = GPT.build(gpt2(layers=2, width=64, heads=2, context=context, vocab=332), seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
        folder = tmp_path_factory.mktemp("fox")
        tokenizer.save(folder)
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        return LM(model.eval(), tokenizer, Path(folder))

    return make


@pytest.fixture(scope="session")
def lm(make_lm: Callable[..., LM]) -> LM:
    """Its embedding is larger than its vocabulary, as padded models' are; it has a chat template."""
    return make_lm(template=TEMPLATE)


@pytest.fixture(scope="session")
def server(lm: LM) -> Iterator[Served]:
    with served(lm) as here:
        yield here


@pytest.fixture
def start() -> Iterator[Callable[..., Served]]:
    """Starts servers that end with the test; arguments as those of `served`."""
    with ExitStack() as stack:
        yield lambda *given, **more: stack.enter_context(served(*given, **more))


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[Served]]:
    """A server for the length of a block."""
    return served
