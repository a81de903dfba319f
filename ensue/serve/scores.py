"""/v1/score: how likely given continuations are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from ensue.generate.boundary import split_boundary
from ensue.generate.engine.requests import Request, Told
from ensue.serve.answers import Scores
from ensue.serve.asked import read_prompts
from ensue.serve.errors import ApiError, described
from ensue.serve.schemas import ScoreBody, ScoreItem
from ensue.serve.service import Service

Pair = tuple[Sequence[int], Sequence[int]]
"""A context and a continuation, as token ids."""


def score_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["Ensue"])

    @router.post("/v1/score", response_model=Scores, responses=described(400, 404, 413, 429, 503, 504))
    async def score(body: ScoreBody) -> Response:
        """ln p of each continuation after its context, as `lm.loglikelihood` gives it.

        Texts are cut into tokens together and parted where the continuation begins; an empty context is the end token.
        Where both are longer than the model's window, the context keeps its end.
        """
        service.check_model(body.model)
        pairs = [await _pair(service, item) for item in body.items]
        _check(service, pairs)
        window = service.config.context
        told = await service.read([_request(pair, window) for pair in pairs])
        data = [_written(number, tokens) for number, tokens in enumerate(told)]
        read = sum(len(context) + len(continuation) for context, continuation in pairs)
        usage = {"prompt_tokens": read, "completion_tokens": 0, "total_tokens": read}
        return JSONResponse({"object": "list", "model": service.settings.name, "data": data, "usage": usage})

    return router


def _request(pair: Pair, window: int) -> Request:
    """What the engine is asked of a pair. The last token is never read, so that window + 1 of them fit."""
    context, continuation = pair
    tokens = (*context, *continuation)[-window - 1 :]
    return Request(tokens[:-1], most=0, targets=tokens[-len(continuation) :])


async def _pair(service: Service, item: ScoreItem) -> Pair:
    if isinstance(item.context, str) and isinstance(item.continuation, str):
        try:
            return split_boundary(service.tokenizer, item.context, item.continuation)
        except ValueError as error:
            raise ApiError(str(error), param="items") from error
    if not item.continuation:
        raise ApiError("the continuation is empty, so there is nothing to score; give it some text.", param="items")
    before, after = await read_prompts(service, [item.context or "", item.continuation], param="items")
    return before, after


def _written(number: int, told: Sequence[Told]) -> dict[str, Any]:
    nats = [each.nats for each in told if each.nats is not None]
    if any(map(math.isnan, nats)):
        raise ApiError(
            f"item {number}: its log-probability is not a number; the model's weights are damaged, or too large for "
            "the precision that they are served in.",
            status=500,
        )
    return {
        "loglikelihood": sum(nats),
        "greedy": all(each.rank == 0 for each in told),
        "tokens": [each.token for each in told],
        "token_logprobs": nats,
    }


def _check(service: Service, pairs: Sequence[Pair]) -> None:
    window = service.config.context
    longest = max(len(continuation) for _, continuation in pairs)
    if longest > window:
        raise ApiError(
            f"a continuation has {longest:,} tokens, more than this model's context of {window:,}; shorten it.",
            param="items",
            code="context_length_exceeded",
        )
