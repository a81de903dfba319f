"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
LOG = logging.getLogger("ensue.serve")


class ApiError(Exception):
    """An answer that is an error. `param` is the field that it is about."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        return error_body(self.message, status=self.status, param=self.param, code=self.code)

    def answer(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, headers=self.headers)


class ErrorDetails(BaseModel):
    """What went wrong: in words, of which kind, and the field that it is about."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetails


def error_body(message: str, *, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The JSON of an error; its type follows from HTTP's number."""
    kind = KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": _writable(message), "type": kind, "param": param and _writable(param), "code": code}}


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI page says of a route's errors; 400, 413, 429 and 500 are any route's that takes a body."""
    return {status: {"model": ErrorBody, "description": MEANINGS[status]} for status in sorted(statuses)}


EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
STREAMED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": EVENT}}}}
"""That an answer may also be a stream of events."""
MEANINGS = {
    400: "A field is missing, unknown, of the wrong type or out of range",
    401: "No API key, or a wrong one",
    403: "An address that is not this server's",
    404: "There is no such model",
    413: "The body is too large",
    429: "The queue is full; Retry-After says for how long to wait",
    500: "The server's own mistake",
    503: "The server is not ready",
    504: "It took longer than a request may",
}


def handle_errors(app: FastAPI) -> None:
    """Have every error of an app answered in this form, and say no more of the server's own than that."""

    @app.exception_handler(ApiError)
    async def ours(request: Request, error: ApiError) -> JSONResponse:
        return error.answer()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _of_validation(error.errors()).answer()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{error.detail}: {request.method} {request.url.path}."
        return ApiError(message, status=error.status_code, headers=error.headers).answer()

    @app.exception_handler(Exception)
    async def own(request: Request, error: Exception) -> JSONResponse:
        LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return ApiError("the server made a mistake; its log has the details.", status=500).answer()


def _of_validation(found: Sequence[Mapping[str, Any]]) -> ApiError:
    """The first thing that is wrong with a body; of a field that may be of several types, what each would need."""
    first = found[0]
    if first["type"] == "json_invalid":
        return ApiError(f"the body is no JSON: {first['ctx']['error']} at character {first['loc'][-1]}.")
    where = [str(part) for part in first["loc"] if part != "body"]
    if not where and first["type"] not in ("model_attributes_type", "model_type", "missing"):
        return ApiError(f"the body cannot be read: {first['msg']}.")
    if not where:
        return ApiError("the body is no JSON object; send one with the header Content-Type: application/json.")
    param = where[0]
    if first["type"] == "extra_forbidden":
        return ApiError(f"unknown parameter: {'.'.join(where)}.", param=param, code="unknown_parameter")
    same = [each for each in found if [str(part) for part in each["loc"] if part != "body"][:1] == [param]]
    said = "; or ".join(dict.fromkeys(str(each["msg"]) for each in same[:4]))
    return ApiError(f"{'.'.join(where[:3])}: {said}.", param=param)


def _writable(text: str) -> str:
    """A text whose lone surrogates, which the names of unknown fields may have, are replaced."""
    return text.encode("utf-8", "replace").decode()


def as_event(body: Mapping[str, Any]) -> bytes:
    """A JSON object as one server-sent event."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
