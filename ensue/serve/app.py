"""The routes of one service as an ASGI app."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

import ensue
from ensue.serve.chat import chat_routes
from ensue.serve.completions import completion_routes
from ensue.serve.door import Door
from ensue.serve.embeddings import embedding_routes
from ensue.serve.errors import handle_errors
from ensue.serve.guard import Guard
from ensue.serve.page import openapi_page
from ensue.serve.plain_routes import plain_routes
from ensue.serve.scores import score_routes
from ensue.serve.service import Service

SWITCH_SECONDS = 5e-4
"""How long a thread of Python keeps the others waiting at most. The engine's would wait ten times as long unless said,
once or twice a step, while the other writes answers."""


def make_app(service: Service) -> FastAPI:
    """The app. What it starts when it begins to serve, it ends when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sys.setswitchinterval(SWITCH_SECONDS)
        service.worker.start(asyncio.get_running_loop())
        yield
        await asyncio.to_thread(service.worker.stop)

    app = FastAPI(title="Ensue", version=ensue.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    handle_errors(app)
    for routes in (completion_routes, chat_routes, embedding_routes, score_routes, plain_routes):
        app.include_router(routes(service))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(openapi_page(app.openapi()))

    return app


def guarded(app: ASGIApp, service: Service) -> ASGIApp:
    """An app behind what a server needs: limits, the key, and other pages' scripts only where they were allowed."""
    settings = service.settings
    known = {"/v1/completions", "/v1/chat/completions", "/v1/models", "/v1/embeddings", "/v1/score"}

    def count(path: str, status: int) -> None:
        service.metrics.requests.labels(path if path in known else "other", str(status or "gone")).inc()

    app = Door(app, limits=settings.limits, count=count)
    app = Guard(app, key=settings.key, host=settings.host)
    if settings.origins:
        app = CORSMiddleware(app, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"])
    return app
