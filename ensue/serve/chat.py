"""/v1/chat/completions: the next answer in a conversation, written down by the model's own template."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from ensue.serve.answers import ChatCompletion
from ensue.serve.asked import base_request, room_for, seeded, stops_of
from ensue.serve.choice import Piece
from ensue.serve.errors import STREAMED, ApiError, as_event, described
from ensue.serve.logprobs import chat as chat_logprobs
from ensue.serve.schemas import ChatBody, Message
from ensue.serve.service import Service, Writing
from ensue.serve.streaming import DONE, EventStream, failing
from ensue.serve.template import Trimmed, open_template
from ensue.serve.text_log import log_text
from ensue.tokens.conversation import ChatTemplate, checked_messages, encode, ends_of


def chat_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["OpenAI"])
    template = open_template(service.path, service.tokenizer, choice=service.settings.chat_template)
    ends = None if template is None else ends_of(template, service.tokenizer)

    @router.post(
        "/v1/chat/completions",
        response_model=ChatCompletion,
        responses=STREAMED | described(400, 404, 413, 429, 503, 504),
    )
    async def chat_completions(body: ChatBody) -> Response:
        """The next answer. With `stream`, pieces come as server-sent events, the last of them `[DONE]`."""
        service.check_model(body.model)
        if template is None or ends is None:
            raise ApiError(
                f"the model {service.settings.name!r} has no chat template, so it was not taught to take part in a "
                "conversation. Use /v1/completions, or start the server with --chat-template plain (or a file).",
                param="messages",
                code="no_chat_template",
            )
        prompt = _prompt(service, template, body.messages)
        asked = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
        base = base_request(service, body)
        request = replace(
            base,
            stop=base.stop if body.ignore_end else ends.tokens,
            tokens=tuple(prompt),
            most=room_for(service, prompt, asked, usual=None),
            likeliest=(body.top_logprobs or 0) if body.logprobs else 0,
            scored=bool(body.logprobs),
        )
        service.check(request, "messages")
        requests = await service.constraining.constrained(seeded([request] * body.n, body.seed), body)
        stops = (*stops_of(body), *(() if body.ignore_end else ends.texts))
        writing = service.write(requests, stops=stops, whole=not body.stream, tokens=bool(body.logprobs))
        answers = _Answers(service, body, prompt)
        if body.stream:
            return EventStream(answers.events(writing), writing.close)
        return JSONResponse(answers.whole(await writing.all()))

    return router


def _prompt(service: Service, template: ChatTemplate, messages: Sequence[Message]) -> list[int]:
    said = [
        {
            "role": "system" if message.role == "developer" else message.role,
            "content": message.text,
            **({"name": message.name} if message.name else {}),
        }
        for message in messages
    ]
    try:
        return encode(template, service.tokenizer, checked_messages(said), add_generation_prompt=True)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ApiError(str(error), param="messages") from error


class _Answers:
    """The answers of one request, in OpenAI's form."""

    def __init__(self, service: Service, body: ChatBody, prompt: Sequence[int]) -> None:
        self.service, self.body, self.prompt = service, body, prompt
        self.id, self.created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())

    def whole(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The answer to a request that is not streamed."""
        choices = [
            {
                "index": piece.choice,
                "message": {"role": "assistant", "content": piece.text.strip(), "refusal": None},
                "logprobs": self._logprobs(piece),
                "finish_reason": piece.finished,
            }
            for piece in pieces
        ]
        log_text(self.service, [self.prompt], [piece.text for piece in pieces])
        usage = self._usage(sum(piece.written for piece in pieces))
        return {**self._head("chat.completion"), "choices": choices, "usage": usage}

    async def events(self, writing: Writing) -> AsyncIterator[bytes]:
        """The answer as server-sent events: who speaks, pieces of text, and the end of each choice."""
        counted = self.body.stream_options is not None and self.body.stream_options.include_usage
        head = {**self._head("chat.completion.chunk"), **({"usage": None} if counted else {})}

        def event(number: int, delta: dict[str, Any], finish: str | None, logprobs: Any = None) -> bytes:
            choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return as_event({**head, "choices": [choice]})

        for number in range(len(writing.choices)):
            yield event(number, {"role": "assistant", "content": ""}, None)
        written = 0
        trimmed, said = [Trimmed() for _ in writing.choices], ["" for _ in writing.choices]
        async for piece in failing(writing.pieces()):
            if isinstance(piece, bytes):
                yield piece
                return
            text = trimmed[piece.choice].feed(piece.text)
            said[piece.choice] += text
            if text or piece.tokens:
                yield event(piece.choice, {"content": text}, None, self._logprobs(piece))
            if piece.finished is not None:
                written += piece.written
                yield event(piece.choice, {}, piece.finished)
        if counted:
            yield as_event({**head, "choices": [], "usage": self._usage(written)})
        log_text(self.service, [self.prompt], said)
        yield DONE

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.service.settings.name}

    def _logprobs(self, piece: Piece) -> dict[str, Any] | None:
        return chat_logprobs(self.service.tokenizer, piece.tokens) if self.body.logprobs else None

    def _usage(self, written: int) -> dict[str, int]:
        read = len(self.prompt)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
