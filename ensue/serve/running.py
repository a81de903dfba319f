"""From settings to a server that listens, and its orderly end."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
import sys
import time
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.opening import EngineSettings, open_engine
from ensue.generate.lm import LM
from ensue.serve.app import guarded, make_app
from ensue.serve.constraining import Constraining
from ensue.serve.memory import give_back
from ensue.serve.metrics import Metrics
from ensue.serve.opening import enough_memory
from ensue.serve.service import Service
from ensue.serve.settings import ServeSettings
from ensue.serve.worker import Worker

BACKLOG = 2048


def make_service(lm: LM, settings: ServeSettings, engine: Engine) -> Service:
    """A service whose worker has not been started."""
    metrics = Metrics()
    worker, constraining = Worker(engine, metrics), Constraining(lm.tokenizer)
    return Service(lm.tokenizer, lm.path, settings, engine, worker, metrics, constraining, int(time.time()))


def open_service(lm: LM, settings: ServeSettings, engine: EngineSettings, *, draft: LM | None = None) -> Service:
    """A service with an engine for a model. Raises ValueError where there is no memory for it."""
    with enough_memory(settings.name):
        return make_service(lm, settings, open_engine(lm, engine, draft=draft))


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is bound, before the model is loaded, so that a port in use is known at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            raise ValueError(
                f"{host}, port {port} cannot be listened at: {error.strerror or error}. Give another --port, or 0 for "
                "any that is free."
            ) from error
        yield bound


def serve(
    service: Service,
    bound: socket.socket,
    *,
    ready: Callable[[], None] = lambda: None,
    extend: Callable[[FastAPI], None] = lambda app: None,
) -> None:
    """Serve until SIGINT or SIGTERM; what is being answered then is finished, and nothing new is taken.

    `ready` is called once it can be asked, and `extend` may add routes to the app before, which are guarded as its own.
    """
    settings = service.settings
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    app = make_app(service)
    extend(app)
    config = uvicorn.Config(
        guarded(app, service),
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="on",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.limits.seconds) + 1,
        backlog=BACKLOG,
    )
    server = uvicorn.Server(config)
    give_back()
    gc.freeze()  # what is loaded now stays, and need not be looked through again and again
    bound.listen(BACKLOG)  # whoever comes from now on waits for the few moments until the first answer
    ready()
    server.run(sockets=[bound])
