"""The verbs of serving: `ensue serve`, and `ensue chat` in the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ensue.generate.lm import LM
    from ensue.serve.service import Service


@dataclass(frozen=True)
class Serve:
    """Serve a model over HTTP, as OpenAI's API does: completions, chats, embeddings, and more.

    It is for this machine alone unless --host says otherwise, and then needs an API key: in $ENSUE_API_KEY, or a file.

      ensue serve runs/demo
      ensue serve openai-community/gpt2 --dtype bf16 --host 0.0.0.0 --api-key-file key.txt
    """

    path: Positional[str]
    """A run, a checkpoint, a Hugging Face folder or a Hub name."""
    host: str = "127.0.0.1"
    """The address to serve at."""
    port: int = 8000
    """The port to serve at; 0 takes any that is free."""
    name: str | None = None
    """What clients call the model; the name of its folder unless said."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dtype: Literal["fp32", "bf16", "int8", "int4"] = "fp32"
    """Precision of the weights; the others are several times as fast on a CPU with AVX-512."""
    cache: str | None = None
    """Memory for keys and values, such as 512M or 4G: all that they will ever take."""
    at_once: int = 64
    """Texts that are written at the same time; others wait."""
    queue: int = 256
    """Texts that may be written and waiting in all; who asks for more is told to come back later."""
    draft: str | None = None
    """A smaller model with the same tokenizer that guesses ahead; the text is the same with and without it."""
    max_tokens: int | None = None
    """New tokens of a text at most; what the context has room for unless said."""
    max_seconds: float = 600.0
    """Seconds that a request may take."""
    max_body: str = "4M"
    """Size of a request."""
    chat_template: str | None = None
    """`plain`, or a file with a template in Jinja, for chats; the model's own unless said."""
    api_key_file: Path | None = None
    """A file with the key that clients must send."""
    cors: tuple[str, ...] = ()
    """Addresses of web pages that may ask from a browser, such as https://example.org; none unless said."""
    log_text: bool = False
    """Write prompts and answers to the log."""
    studio: bool = False
    """Also serve the studio's pages, at /studio, for this machine alone: a browser has no key to send."""

    def start(self) -> None:
        try:
            import fastapi  # noqa: F401
            import prometheus_client  # noqa: F401
            import uvicorn  # noqa: F401
        except ImportError as error:
            raise ValueError(
                f"serving needs {error.name}, which is not installed: pip install 'ensue[serve]'"
            ) from error
        from ensue.recipes.display import Display
        from ensue.serve.opening import open_model, read_bytes
        from ensue.serve.running import listening, open_service, serve
        from ensue.serve.settings import KEY_VARIABLE, Limits, ServeSettings, read_key

        key = read_key(self.api_key_file) if self.api_key_file is not None else os.environ.get(KEY_VARIABLE) or None
        if self.studio and key is not None:
            raise ValueError("a browser has no key to send, so --studio goes without one, on this machine alone.")
        limits = Limits(
            body=read_bytes(self.max_body),
            choices=min(128, self.queue),
            queue=self.queue,
            seconds=self.max_seconds,
            tokens=self.max_tokens,
        )
        settings = ServeSettings(
            self.name or _name(self.path),
            host=self.host,
            port=self.port,
            key=key,
            origins=self.cors,
            log_text=self.log_text,
            chat_template=self.chat_template,
            limits=limits,
        )
        display = Display(to_stderr=True)
        with listening(self.host, self.port) as bound:
            lm, engine = open_model(
                self.path, device=self.device, dtype=self.dtype, cache=self.cache, most=self.at_once
            )
            draft = None if self.draft is None else open_model(self.draft, device=self.device)[0]
            service = open_service(lm, settings, engine, draft=draft)
            add_studio = partial(_add_studio, service=service, read=_reader(lm, service))
            del lm, draft  # the engine has its own copy of the weights
            shown = f"[{self.host}]" if ":" in self.host else self.host
            address = f"http://{shown}:{bound.getsockname()[1]}"
            pages = f", the studio at {address}/studio" if self.studio else ""
            serve(
                service,
                bound,
                ready=lambda: display.say(f"{settings.name} is served at {address}/v1{pages}  (Ctrl-C ends it)"),
                extend=add_studio if self.studio else lambda app: None,
            )


@dataclass(frozen=True)
class Chat:
    """Talk with a model in the terminal.

    A model that was tuned to answer is asked by its own template; any other by lines that begin with User and
    Assistant. /reset begins again, /undo takes back, /set changes the sampling, /quit leaves.

      ensue chat runs/chat
      ensue chat runs/chat --system "Answer in one sentence." --temperature 0
    """

    path: Positional[str]
    """A run, a checkpoint, a Hugging Face folder or a Hub name."""
    system: str | None = None
    """What the system says first."""
    temperature: float = 0.8
    """0 takes the likeliest token each time; 1 samples what the model says."""
    top_k: int | None = None
    """Sample from the K likeliest tokens only."""
    top_p: float | None = 0.95
    """Sample from the likeliest tokens that together reach this probability."""
    max_tokens: int = 256
    """Tokens of an answer at most."""
    seed: int = 0
    """The same seed gives the same answers."""
    chat_template: str | None = None
    """`plain`, or a file with a template in Jinja; the model's own unless said."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dtype: Literal["fp32", "bf16", "int8", "int4"] = "fp32"
    """Precision of the weights; the others are several times as fast on a CPU with AVX-512."""

    def start(self) -> None:
        from ensue.generate.engine.opening import open_engine
        from ensue.generate.settings import Sampling
        from ensue.recipes.display import Display
        from ensue.serve.opening import open_model
        from ensue.serve.talk import Talk
        from ensue.serve.template import PLAIN, open_template
        from ensue.serve.terminal import HELP, converse

        sampling = Sampling(self.temperature, self.top_k, self.top_p, seed=self.seed)
        if self.max_tokens < 1:
            raise ValueError(f"--max-tokens {self.max_tokens} leaves no room for an answer; give 1 or more.")
        lm, settings = open_model(self.path, device=self.device, dtype=self.dtype, most=1)
        engine, tokenizer, folder = open_engine(lm, settings), lm.tokenizer, lm.path
        del lm  # the engine has its own copy of the weights
        template = open_template(folder, tokenizer, choice=self.chat_template)
        display = Display(to_stderr=True)
        if template is None:
            display.say("This model has no chat template: it was not tuned to answer, and is asked in plain lines.")
            template = open_template(folder, tokenizer, choice=PLAIN)
        assert template is not None
        talk = Talk(engine, tokenizer, template, system=self.system)
        talk.sampling, talk.most = sampling, self.max_tokens
        display.say(HELP)
        converse(talk)


def _reader(lm: LM, service: Service) -> Callable[[], LM]:
    """How to have all of a model that is served: as it is, or, where its engine has only packed weights, read again."""
    from ensue.generate.engine.passes import PackedPasses
    from ensue.generate.load import load

    return partial(load, lm.path, device="cpu") if isinstance(service.engine.passes, PackedPasses) else lambda: lm


def _add_studio(app: FastAPI, *, service: Service, read: Callable[[], LM]) -> None:
    """The pages, which write through the engine that serves."""
    from ensue.studio.models import RunningModel
    from ensue.studio.studio import StudioSettings, mount_studio
    from ensue.verbs.studio import run_records

    running = RunningModel(service.worker.thread, service.tokenizer, read)
    settings = StudioSettings(running={service.settings.name: running}, records=run_records())
    mount_studio(app, settings, path="/studio")


def _name(path: str) -> str:
    """What clients call a model: a Hub name as it is, a run's own name for its checkpoints."""
    folder = Path(path)
    if not folder.exists():
        return path
    parts = folder.resolve().parts
    if "checkpoints" in parts[-2:]:
        return parts[parts.index("checkpoints") - 1]
    return parts[-2] if parts[-1] == "final" else parts[-1]
