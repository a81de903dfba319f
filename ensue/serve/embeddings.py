"""/v1/embeddings: a vector of each text, from the model's final states."""

from __future__ import annotations

import base64

import torch
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from torch import Tensor

from ensue.serve.answers import Embeddings
from ensue.serve.asked import prompts_in, read_prompts
from ensue.serve.errors import ApiError, described
from ensue.serve.schemas import EmbeddingBody
from ensue.serve.service import Service
from ensue.serve.states import embed


def embedding_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["OpenAI"])

    @router.post("/v1/embeddings", response_model=Embeddings, responses=described(400, 404, 413, 429, 503, 504))
    async def embeddings(body: EmbeddingBody) -> Response:
        """The mean of a text's final states, after the last norm, or the state of its last token; of length 1."""
        service.check_model(body.model)
        width, context = service.config.width, service.config.context
        if body.dimensions not in (None, width):
            raise ApiError(
                f"this model's vectors have {width} dimensions, not {body.dimensions}; leave it out.",
                param="dimensions",
            )
        given = prompts_in(body.input)
        _check_count(service, len(given))
        texts = await read_prompts(service, given, param="input")
        longest = max(map(len, texts))
        if longest > context:
            raise ApiError(
                f"a text has {longest:,} tokens, more than this model's context of {context:,}; shorten it.",
                param="input",
                code="context_length_exceeded",
            )
        vectors: Tensor = await service.work(embed(service.engine, texts, last=body.pooling == "last"))
        if body.normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        data = [
            {"object": "embedding", "index": index, "embedding": _written(vector, body.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        read = sum(map(len, texts))
        usage = {"prompt_tokens": read, "completion_tokens": 0, "total_tokens": read}
        return JSONResponse({"object": "list", "data": data, "model": service.settings.name, "usage": usage})

    return router


def _check_count(service: Service, count: int) -> None:
    most = 16 * service.settings.limits.choices
    if count > most:
        raise ApiError(f"{count:,} texts are more than the {most:,} that one request may ask for.", param="input")


def _written(vector: Tensor, form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode()
    values: list[float] = vector.tolist()
    return values
