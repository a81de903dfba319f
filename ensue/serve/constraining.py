"""What an answer has to match, from a client's fields."""

from __future__ import annotations

from ensue.generate.engine.requests import Request
from ensue.serve.schemas import ChatBody, CompletionBody
from ensue.serve.service import Service


async def constrained(service: Service, request: Request, body: CompletionBody | ChatBody) -> Request:
    return request
