"""What needs no model: how the server is, what it serves, and texts cut into tokens."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from ensue.serve.answers import Cut, Health, Joined, Model, Models, TokenizerInfo
from ensue.serve.asked import read_prompts
from ensue.serve.errors import ApiError, described
from ensue.serve.logprobs import token_text
from ensue.serve.metrics import Snapshot
from ensue.serve.schemas import DetokenizeBody, TokenizeBody
from ensue.serve.service import Service
from ensue.serve.template import part_specials, special_tokens


def plain_routes(service: Service) -> APIRouter:
    router = APIRouter()
    specials = special_tokens(service.path, service.tokenizer)

    def model() -> Model:
        return Model(id=service.settings.name, created=service.created, max_model_len=service.config.context)

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
        """A text's tokens. What spells a special token is that token, unless `parse_special` is off, as in prompts."""
        service.check_model(body.model)
        ids: list[int] = []
        for piece in part_specials(body.prompt, specials if body.parse_special else {}):
            ids += [specials[piece]] if body.parse_special and piece in specials else await service.encode(piece)
        texts = [token_text(service.tokenizer, token) for token in ids]
        return Cut(tokens=ids, texts=texts, count=len(ids), max_model_len=service.config.context)

    @router.post("/detokenize", tags=["Tokens"], responses=described(400, 404, 413))
    async def detokenize(body: DetokenizeBody) -> Joined:
        """The text of some tokens."""
        service.check_model(body.model)
        if not body.tokens:
            return Joined(prompt="")
        [ids] = await read_prompts(service, [body.tokens], param="tokens")
        return Joined(prompt=service.tokenizer.decode(ids))

    @router.get("/tokenizer_info", tags=["Tokens"])
    async def tokenizer_info() -> TokenizerInfo:
        """What the tokenizer is; lm-evaluation-harness then has this server cut its texts."""
        tokenizer = service.tokenizer
        end = tokenizer.token_bytes(tokenizer.end).decode("utf-8", "replace")
        return TokenizerInfo(
            tokenizer_class=tokenizer.name,
            vocab_size=tokenizer.vocab_size,
            eos_token=end,
            bos_token=end,
            eos_token_id=tokenizer.end,
            fingerprint=tokenizer.fingerprint,
        )

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
