"""Server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ensue.serve.choice import Piece
from ensue.serve.errors import ApiError, as_event

DONE = b"data: [DONE]\n\n"


class EventStream(StreamingResponse):
    """Events as they come; `close` is called in the end, whether all were sent or the client has gone."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], close: Callable[[], None]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.stream_response(send)
        finally:
            self._close()


async def failing(pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece | bytes]:
    """The pieces; an error on the way, when it is too late for another status, becomes the last event."""
    try:
        async for piece in pieces:
            yield piece
    except ApiError as error:
        yield as_event(error.body)
