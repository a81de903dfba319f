"""Asking an OpenAI-compatible server: tried again where that can help, with errors that say what to do."""

from __future__ import annotations

import email.utils
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""Statuses of a server that may well answer the same request later."""

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Unreachable(ValueError):
    """A server stopped answering. Whoever keeps what was finished goes on from there once it answers again."""


class Refused(ValueError):
    """A server answered that it will not do what was asked; `status` is HTTP's number."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    answer   seconds without a byte of an answer until it counts as lost
    tries    how often a request is sent at most
    pause    seconds before the second try, doubled before each later one
    longest  seconds before any try at most, whatever the server asks for (Retry-After)
    """

    answer: float = 120.0
    tries: int = 6
    pause: float = 1.0
    longest: float = 300.0


class Server:
    """A base URL, such as http://localhost:8000/v1, with the key from an environment variable, which is never shown."""

    def __init__(
        self, base_url: str, *, key_variable: str = "OPENAI_API_KEY", patience: Patience | None = None
    ) -> None:
        self.address = _checked(base_url)
        self.key_variable = key_variable
        self.patience = patience or Patience()
        self._key = os.environ.get(key_variable, "").strip()
        self._client = self._connect()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        give_up: threading.Event | None = None,
        tries: int | None = None,
    ) -> dict[str, Any]:
        """The JSON object that the server answers: to a POST of `body`, or to a GET without one.

        Time-outs, lost connections, answers that are no JSON and the statuses in AGAIN are tried again, after a pause
        that doubles or that the server asked for, `tries` times at most; `give_up` ends it early. Raises Unreachable
        after the last try, and Refused at once for any other status, with the server's own words.
        """
        give_up = give_up or threading.Event()
        tries = min(tries or self.patience.tries, self.patience.tries)
        pause = self.patience.pause
        for attempt in range(1, tries + 1):
            answer, failure, wanted = self._ask_once(path, body)
            if answer is not None:
                return answer
            if attempt < tries and give_up.wait(min(max(pause, wanted), self.patience.longest)):
                break
            pause *= 2
        raise Unreachable(
            f"{self.address} was asked {attempt} times and did not answer; the last time: {failure}. What "
            "was finished is kept: wait, or start the server again, and give the same command to go on from there."
        )

    def _ask_once(self, path: str, body: Mapping[str, Any] | None) -> tuple[dict[str, Any] | None, str, float]:
        """The answer, or None, why there is none, and the seconds that the server asks to be left alone for."""
        import httpx

        try:
            response = self._client.request("GET" if body is None else "POST", f"{self.address}{path}", json=body)
        except httpx.TimeoutException as error:
            return None, f"{type(error).__name__}: no answer within {self.patience.answer:g} s", 0.0
        except httpx.TransportError as error:
            return None, f"the connection failed ({type(error).__name__}: {self._hidden(str(error))})", 0.0
        if response.status_code in AGAIN:
            wanted = _retry_after(response.headers.get("retry-after"))
            return None, f"HTTP {response.status_code}: {self._message(response)}", wanted
        if response.status_code != 200:
            raise Refused(self._refusal(response), response.status_code)
        answer = _object(response.text)
        return answer, f"what it answered is no JSON object: {self._hidden(response.text[:200])!r}", 0.0

    def _connect(self) -> httpx.Client:
        try:
            import httpx
        except ImportError as error:
            raise ValueError(
                "a server is asked with httpx, which is not installed: pip install 'ensue[evaluate]'"
            ) from error
        return httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(self.patience.answer, connect=min(10.0, self.patience.answer), pool=None),
            limits=httpx.Limits(max_connections=None),
            trust_env=urlsplit(self.address).hostname not in LOCAL,  # a proxy does not know this machine
        )

    def _refusal(self, response: httpx.Response) -> str:
        status = response.status_code
        message = f"{self.address} answered HTTP {status}: {self._message(response)}"
        if status in (401, 403):
            held = "was sent" if self._key else "is empty"
            return f"{message} The key is read from the environment variable {self.key_variable}, which {held}."
        if status == 404:
            return f"{message} Check the model's name, and the address: it usually ends in /v1."
        if 300 <= status < 400:
            return f"{message} It sends elsewhere, to {response.headers.get('location')}; give that address."
        return message

    def _message(self, response: httpx.Response) -> str:
        """The server's own words, in OpenAI's form or another, without the key."""
        answer = _object(response.text) or {}
        error = answer.get("error", answer)
        found = error.get("message", error.get("detail")) if isinstance(error, dict) else error
        text = found if isinstance(found, str) else json.dumps(found) if found else response.text[:300]
        return self._hidden(text.strip()) or "(no words)"

    def _hidden(self, text: str) -> str:
        return text.replace(self._key, "(the key)") if self._key else text


def _checked(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{base_url!r} is no server's address; type something like http://localhost:8000/v1.")
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "a server's address holds no user, password or query, since it is written into results; put the key into "
            "an environment variable."
        )
    return base_url.rstrip("/").removesuffix("/completions")


def _object(text: str) -> dict[str, Any] | None:
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _retry_after(header: str | None) -> float:
    """Seconds that a server asks to be left alone for: a number, or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0
