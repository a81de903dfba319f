"""What needs no model: how the server is, what it serves, and texts cut into tokens."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from ensue.serve.answers import Cut, Health, Joined, Model, Models
from ensue.serve.asked import read_prompts
from ensue.serve.errors import ApiError, described
from ensue.serve.logprobs import token_text
from ensue.serve.metrics import Snapshot
from ensue.serve.schemas import DetokenizeBody, TokenizeBody
from ensue.serve.service import Service


def plain_routes(service: Service) -> APIRouter:
    router = APIRouter()

    def model() -> Model:
        return Model(id=service.settings.name, created=service.created, max_model_len=service.lm.config.context)

    @router.get("/v1/models", tags=["OpenAI"])
    async def models() -> Models:
        """The one model that is served."""
        return Models(data=[model()])

    @router.get("/v1/models/{name:path}", tags=["OpenAI"], responses=described(404))
    async def one_model(name: str) -> Model:
        """The model of a name."""
        service.check_model(name)
        return model()

    @router.post("/tokenize", tags=["Tokens"], responses=described(400, 404, 413))
    async def tokenize(body: TokenizeBody) -> Cut:
        """A text's tokens."""
        service.check_model(body.model)
        ids = await service.encode(body.prompt)
        texts = [token_text(service.lm.tokenizer, token) for token in ids]
        return Cut(tokens=ids, texts=texts, count=len(ids), max_model_len=service.lm.config.context)

    @router.post("/detokenize", tags=["Tokens"], responses=described(400, 404, 413))
    async def detokenize(body: DetokenizeBody) -> Joined:
        """The text of some tokens."""
        service.check_model(body.model)
        if not body.tokens:
            return Joined(prompt="")
        [ids] = await read_prompts(service, body.tokens, param="tokens")
        return Joined(prompt=service.lm.tokenizer.decode(ids))

    @router.get("/healthz", tags=["State"])
    async def healthz() -> Health:
        """Whether the process answers."""
        return Health()

    @router.get("/readyz", tags=["State"], responses=described(503))
    async def readyz() -> Health:
        """Whether it takes requests."""
        if not service.worker.alive:
            raise ApiError("the engine does not run.", status=503)
        return Health()

    @router.get("/metrics", tags=["State"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counts and times for Prometheus."""
        snapshot = await service.ask(Snapshot.of)
        return Response(service.metrics.show(snapshot), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
