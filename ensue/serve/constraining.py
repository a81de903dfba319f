"""What an answer has to match, from a client's fields."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from ensue.generate.constraints import Grammar, Grammars
from ensue.generate.engine.requests import Request
from ensue.serve.errors import ApiError
from ensue.serve.schemas import ChatBody, CompletionBody, JsonObjectFormat, JsonSchemaFormat
from ensue.tokens.tokenizer import Tokenizer

KEPT = 64
"""Grammars that are kept for those who ask for the same again."""


class Constraining:
    """Compiles grammars beside the event loop, and keeps the last of them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._grammars: Grammars | None = None
        self._kept: dict[str, Grammar] = {}

    async def constrained(self, requests: Sequence[Request], body: CompletionBody | ChatBody) -> list[Request]:
        """The requests, each held to what the body says if it says anything. Raises ApiError for what cannot be met."""
        asked = self._asked(body)
        if asked is None:
            return list(requests)
        param, name, make = asked
        if body.no_repeat_ngram:
            raise ApiError(
                "what has to match something may have to repeat itself; leave out no_repeat_ngram.",
                param="no_repeat_ngram",
            )
        try:
            kept = self._kept.pop(name, None)
            grammar = kept if kept is not None else await asyncio.to_thread(self._compile, make)
        except ValueError as error:
            raise ApiError(str(error), param=param, code="invalid_grammar") from error
        self._kept[name] = grammar
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return [
            replace(
                request,
                constraint=grammar.matching(request.most),
                stop=request.stop | {self._tokenizer.end},
            )
            for request in requests
        ]

    def _compile(self, make: Callable[[Grammars], Grammar]) -> Grammar:
        if self._grammars is None:
            self._grammars = Grammars(self._tokenizer)
        grammar = make(self._grammars)
        _ = grammar.leap  # here, and not when the first text is begun
        return grammar

    def _asked(self, body: CompletionBody | ChatBody) -> tuple[str, str, Callable[[Grammars], Grammar]] | None:
        """The field that asks for it, a name for what is asked, and how it is compiled."""
        form, pattern = body.response_format, body.guided_regex
        if pattern is not None:
            if isinstance(form, JsonObjectFormat | JsonSchemaFormat):
                raise ApiError(
                    "a text is held to guided_regex or to response_format, not to both.", param="guided_regex"
                )
            return "guided_regex", f"regex {pattern}", lambda grammars: grammars.regex(pattern)
        if isinstance(form, JsonObjectFormat):
            return "response_format", "object", lambda grammars: grammars.json_schema()
        if isinstance(form, JsonSchemaFormat):
            schema = form.json_schema.schema_
            name = f"schema {json.dumps(schema)}"
            return "response_format", name, lambda grammars: grammars.json_schema(schema)
        return None
