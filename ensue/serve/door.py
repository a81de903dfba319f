"""What every request passes first: its body whole and not too large, its time not too long, its client still there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ensue.serve.errors import ApiError, as_event
from ensue.serve.settings import Limits

LAST_WORDS = 5.0
"""Seconds that a client has to take the news that its time is over."""


class Door:
    """ASGI middleware. A route behind it is cancelled when its client goes away or its time is over."""

    def __init__(self, app: ASGIApp, *, limits: Limits, count: Callable[[str, int], None]) -> None:
        """`count` is told the path and status of each answer."""
        self.app, self.limits, self.count = app, limits, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            async with asyncio.timeout(self.limits.seconds):
                body = await self._body(scope, receive)
                if body is not None:
                    await self._until_gone(scope, body, receive, answer)
        except ApiError as error:
            await error.answer()(scope, receive, answer)
        except TimeoutError:
            await self._too_late(scope, receive, answer)
        except Exception:
            if not answer.status:  # else it was logged and answered already
                raise
        finally:
            self.count(scope["path"], answer.status)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None where the client has gone. Raises ApiError for one that is too large."""
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told[:20]) > self.limits.body:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self.limits.body:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(pieces)

    async def _until_gone(self, scope: Scope, body: bytes, receive: Receive, answer: _Answer) -> None:
        given = False
        gone = asyncio.Event()

        async def once() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def wait_until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        async def work() -> None:
            await self.app(scope, once, answer)

        working = asyncio.create_task(work())
        leaving = asyncio.create_task(wait_until_gone())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not working.done():
                working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working

    async def _too_late(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Say so, as the status or, where that was sent already, as a stream's last event; then hang up."""
        error = ApiError(
            f"this took longer than the {self.limits.seconds:g} s that a request may take.", status=504, code="timeout"
        )
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(LAST_WORDS):
                if not answer.status:
                    await error.answer()(scope, receive, answer)
                elif answer.events:
                    await answer({"type": "http.response.body", "body": as_event(error.body), "more_body": False})

    def _too_large(self) -> ApiError:
        return ApiError(
            f"the body is larger than the {self.limits.body:,} bytes that a request may have.",
            status=413,
            code="too_large",
            headers={"Connection": "close"},
        )


class _Answer:
    """Passes an answer on, and remembers its status and whether it is a stream of events."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.events = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.events = (b"content-type", b"text/event-stream; charset=utf-8") in message["headers"]
        await self._send(message)
