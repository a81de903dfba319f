"""Who may ask: those with the key; and where there is none, only those who call this machine by its own name."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ensue.serve.errors import ApiError

OPEN = frozenset({"/healthz", "/readyz"})
"""What may be asked without a key."""
OWN_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class Guard:
    """ASGI middleware.

    Without a key, another name for this machine is refused: a web page could have its own name lead here (DNS
    rebinding), and a browser would then let it read the answers.
    """

    def __init__(self, app: ASGIApp, *, key: str | None, host: str) -> None:
        self.app = app
        self._key = None if key is None else key.encode()
        self._names = OWN_NAMES | {host, f"[{host}]"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._refusal(scope)
        if error is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await error.answer()(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN:
            return None
        headers = Headers(scope=scope)
        if self._key is None:
            return self._foreign_name(headers.get("host", ""))
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._key):
            return None
        said = "a wrong API key was sent" if given else "no API key was sent"
        return ApiError(
            f"{said}; send the header Authorization: Bearer KEY.",
            status=401,
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _foreign_name(self, host: str) -> ApiError | None:
        name = host.rsplit(":", 1)[0] if host.count(":") == 1 or "]:" in host else host
        if name.lower() in self._names:
            return None
        return ApiError(f"{name!r} is no name of this server; ask for it as http://localhost.", status=403)
