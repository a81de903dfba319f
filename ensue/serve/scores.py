"""/v1/score: how likely given continuations are."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from ensue.generate.boundary import split_boundary
from ensue.generate.score import Pair, TokenScores, score_tokens
from ensue.model.gpt import GPT
from ensue.serve.answers import Scores
from ensue.serve.asked import read_prompts
from ensue.serve.errors import ApiError, described
from ensue.serve.schemas import ScoreBody, ScoreItem
from ensue.serve.service import Service

PASS_TOKENS = 512
"""Tokens of the pairs that are scored at a time, between which the engine goes on; a shared context counts once."""


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
        found: list[TokenScores] = await service.work(score_pieces(service.lm.model, pairs))
        data = [
            {
                "loglikelihood": scores.total,
                "greedy": all(scores.greedy),
                "tokens": list(continuation),
                "token_logprobs": list(scores.nats),
            }
            for scores, (_, continuation) in zip(found, pairs, strict=True)
        ]
        read = sum(len(context) + len(continuation) for context, continuation in pairs)
        usage = {"prompt_tokens": read, "completion_tokens": 0, "total_tokens": read}
        return JSONResponse({"object": "list", "model": service.settings.name, "data": data, "usage": usage})

    return router


def score_pieces(model: GPT, pairs: Sequence[Pair]) -> Generator[None, None, list[TokenScores]]:
    """What `score_tokens` says of all pairs, some at a time; those with one beginning stay together."""
    found: dict[int, TokenScores] = {}
    order = sorted(range(len(pairs)), key=lambda number: tuple(pairs[number][0]))
    while order:
        ours, tokens, last = 0, 0, None
        while ours < len(order) and (not ours or tokens <= PASS_TOKENS):
            context, continuation = pairs[order[ours]]
            tokens += len(continuation) + (0 if context == last else len(context))
            ours, last = ours + 1, context
        scores = score_tokens(model, [pairs[number] for number in order[:ours]])
        found.update(zip(order[:ours], scores, strict=True))
        order = order[ours:]
        yield
    return [found[number] for number in range(len(pairs))]


async def _pair(service: Service, item: ScoreItem) -> Pair:
    if isinstance(item.context, str) and isinstance(item.continuation, str):
        try:
            return split_boundary(service.lm.tokenizer, item.context, item.continuation)
        except ValueError as error:
            raise ApiError(str(error), param="items") from error
    if not item.continuation:
        raise ApiError("the continuation is empty, so there is nothing to score; give it some text.", param="items")
    before, after = await read_prompts(service, [item.context or "", item.continuation], param="items")
    return before, after


def _check(service: Service, pairs: Sequence[Pair]) -> None:
    window = service.lm.config.context
    longest = max(len(continuation) for _, continuation in pairs)
    if longest > window:
        raise ApiError(
            f"a continuation has {longest:,} tokens, more than this model's context of {window:,}; shorten it.",
            param="items",
            code="context_length_exceeded",
        )
