"""/v1/completions: texts that go on from prompts, in OpenAI's older form."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from ensue.generate.engine.requests import Request, Told
from ensue.serve.answers import Completion
from ensue.serve.asked import base_request, prompts_in, read_prompts, room_for, seeded, stops_of
from ensue.serve.choice import Piece, Placed
from ensue.serve.errors import STREAMED, ApiError, as_event, described
from ensue.serve.logprobs import legacy, place_prompt
from ensue.serve.schemas import CompletionBody
from ensue.serve.service import Service, Writing
from ensue.serve.streaming import DONE, EventStream, failing
from ensue.serve.text_log import log_text


@dataclass(frozen=True)
class _Asked:
    """What a body comes to: `each` texts are written after every prompt, of which the `n` likeliest are answered."""

    body: CompletionBody
    prompts: Sequence[Sequence[int]]
    requests: Sequence[Request]
    each: int

    def prompt_of(self, choice: int) -> Sequence[int]:
        return self.prompts[choice // self.each]


def completion_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["OpenAI"])

    @router.post(
        "/v1/completions", response_model=Completion, responses=STREAMED | described(400, 404, 413, 429, 503, 504)
    )
    async def completions(body: CompletionBody) -> Response:
        """Go on from each prompt. With `stream`, pieces come as server-sent events, the last of them `[DONE]`."""
        service.check_model(body.model)
        asked = await _read(service, body)
        stops = stops_of(body)
        writing = service.write(
            asked.requests, stops=stops, whole=not body.stream, tokens=body.logprobs is not None or asked.each != body.n
        )
        answers = _Answers(service, asked)
        if body.stream:
            return EventStream(answers.events(writing), writing.close)
        return JSONResponse(answers.whole(await writing.all()))

    return router


async def _read(service: Service, body: CompletionBody) -> _Asked:
    each = body.best_of or body.n
    if each < body.n:
        raise ApiError(f"best_of {each} is fewer than the n {body.n} that are to be answered.", param="best_of")
    if body.stream and each > body.n:
        raise ApiError("what is best is known only at the end: best_of cannot be streamed.", param="best_of")
    given = prompts_in(body.prompt)
    most = service.settings.limits.choices
    if len(given) * each > most:
        raise ApiError(
            f"{len(given)} prompts with {each} texts each are {len(given) * each} texts, more than the {most} that "
            "one request may ask for.",
            param="prompt",
        )
    prompts = await read_prompts(service, given)
    base = base_request(service, body)
    likeliest = body.logprobs or 0
    asked = body.max_tokens if "max_tokens" in body.model_fields_set else None
    requests = []
    for prompt in prompts:
        request = replace(
            base,
            tokens=tuple(prompt),
            most=room_for(service, prompt, asked, usual=16),
            likeliest=likeliest,
            scored=body.logprobs is not None or each != body.n,
        )
        service.check(request, "prompt")
        told = body.echo and body.logprobs is not None
        requests += [replace(request, of_prompt=told and number == 0) for number in range(each)]
    requests = await service.constraining.constrained(seeded(requests, body.seed), body)
    return _Asked(body, prompts, requests, each)


class _Answers:
    """The answers of one request, in OpenAI's form."""

    def __init__(self, service: Service, asked: _Asked) -> None:
        self.service, self.asked = service, asked
        self.tokenizer = service.tokenizer
        self._joint = "" if self.tokenizer.lossless else " "  # GPT's tokenizer strips the space between the two
        self.head: dict[str, Any] = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": service.settings.name,
        }

    def whole(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The answer to a request that is not streamed."""
        asked, choices = self.asked, []
        for number, prompt in enumerate(asked.prompts):
            ours = pieces[number * asked.each : (number + 1) * asked.each]
            told = ours[0].prompt
            if asked.each > asked.body.n:
                ours = sorted(ours, key=_mean_nats, reverse=True)[: asked.body.n]
            choices += [self._choice(piece, prompt, told, begins=True) for piece in ours]
        for index, choice in enumerate(choices):
            choice["index"] = index
        log_text(self.service, asked.prompts, [choice["text"] for choice in choices])
        return {**self.head, "choices": choices, "usage": self._usage(sum(piece.written for piece in pieces))}

    async def events(self, writing: Writing) -> AsyncIterator[bytes]:
        """The answer as server-sent events."""
        options = self.asked.body.stream_options
        counted = options is not None and options.include_usage
        usage = {"usage": None} if counted else {}
        sent: dict[int, str] = {}
        told: dict[int, tuple[Told, ...]] = {}
        written = 0
        async for piece in failing(writing.pieces()):
            if isinstance(piece, bytes):
                yield piece
                return
            number = piece.choice
            told[number] = (*told.get(number, ()), *piece.prompt)
            if piece.finished is not None:
                written += piece.written
            if not (piece.text or piece.tokens or piece.finished):
                continue
            first = number - number % self.asked.each
            choice = self._choice(piece, self.asked.prompt_of(number), told.get(first, ()), begins=number not in sent)
            sent[number] = sent.get(number, "") + choice["text"]
            yield as_event({**self.head, "choices": [{**choice, "index": number}], **usage})
        if counted:
            yield as_event({**self.head, "choices": [], "usage": self._usage(written)})
        log_text(self.service, self.asked.prompts, [sent[number] for number in sorted(sent)])
        yield DONE

    def _choice(self, piece: Piece, prompt: Sequence[int], told: Sequence[Told], *, begins: bool) -> dict[str, Any]:
        """One choice, or a part of it; where it `begins`, what is echoed stands before the text."""
        body = self.asked.body
        echoed = self.tokenizer.decode(prompt) + self._joint if body.echo else ""
        text = echoed + piece.text if begins else piece.text
        logprobs = None
        if body.logprobs is not None:
            before: list[Placed] = []
            if body.echo and begins:
                before, _ = place_prompt(self.tokenizer, told)
            after = [Placed(each.told, each.offset + len(echoed)) for each in piece.tokens]
            logprobs = legacy(self.tokenizer, [*before, *after], likeliest=body.logprobs)
        return {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": piece.finished}

    def _usage(self, written: int) -> dict[str, int]:
        read = sum(map(len, self.asked.prompts))
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _mean_nats(piece: Piece) -> float:
    """What best_of goes by: ln p for each token, as OpenAI says."""
    nats = [placed.told.nats or 0.0 for placed in piece.tokens]
    return sum(nats) / len(nats) if nats else 0.0
