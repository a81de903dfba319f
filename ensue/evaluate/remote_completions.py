"""One model of a completions server: prompts echoed with their log-probabilities, and texts gone on with."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ensue.evaluate.remote_echo import Echo, read_echo, written_text
from ensue.evaluate.remote_server import Refused, Server, Unreachable

Sent = str | list[int]
"""A prompt: text, or token ids."""

PROBE = "Hello"
"""What a server is asked to echo first, to see whether it does."""


class Completions:
    """A model by the name that a server gives it; `more` are further fields of each request."""

    def __init__(self, server: Server, name: str, *, window: int | None, more: Mapping[str, Any]) -> None:
        self.server = server
        self.name = name
        self._more = dict(more)
        self._window = window
        self._window_asked = window is not None
        self._new = 0  # tokens to write where only the prompt counts; some servers refuse 0
        self._prepared = False

    def window(self) -> int | None:
        """Tokens that the model can read, as was said or as the server's list of models says (vLLM and SGLang do)."""
        if not self._window_asked:
            self._window_asked = True
            try:
                models = self.server.ask("/models").get("data") or []
            except Refused:
                models = []
            ours = [model for model in models if isinstance(model, dict) and model.get("id") == self.name]
            lengths = [model.get("max_model_len") for model in ours]
            self._window = next((length for length in lengths if isinstance(length, int)), None)
        return self._window

    def room(self, most: int) -> int:
        """Tokens that can be sent to be echoed, `most` where the window is not known; at least two."""
        window = self.window()
        return max(2, most if window is None else window - self._new)

    def prepare(self) -> None:
        """Ask once, before anything counts, for the window, and whether a prompt can be echoed without writing on.

        Raises ValueError where it cannot be echoed at all.
        """
        self.window()
        if self._prepared:
            return
        try:
            answer = self._echoed(PROBE, 0, tries=2)
            writes = (answer.get("usage") or {}).get("completion_tokens") or len(written_text(answer)) > len(PROBE)
            self._new = 1 if writes else 0
        except (Refused, Unreachable) as failure:
            if isinstance(failure, Refused) and failure.status not in (400, 422):
                raise
            self._new = 1
            self._probe_writing()
        self._prepared = True

    def echo(self, prompt: Sent, give_up: threading.Event) -> Echo:
        """The prompt's tokens with their log-probabilities; `prepare` comes before."""
        answer = self._echoed(prompt, self._new, give_up=give_up)
        return read_echo(answer, sent=None if isinstance(prompt, str) else len(prompt), new=self._new)

    def write(self, prompt: Sent, fields: Mapping[str, Any], give_up: threading.Event) -> str:
        """What the model writes after the prompt."""
        return written_text(self._ask({"prompt": prompt, **fields}, give_up=give_up))

    def _probe_writing(self) -> None:
        """See that a prompt is echoed where one token is written after it."""
        try:
            self._echoed(PROBE, 1)
        except Refused as error:
            raise ValueError(
                f"{error} It was asked for the log-probabilities of a prompt (`echo` with `logprobs`), which "
                "evaluating needs; vLLM and SGLang give them."
            ) from error

    def _echoed(
        self, prompt: Sent, new: int, *, give_up: threading.Event | None = None, tries: int | None = None
    ) -> dict[str, Any]:
        fields = {"prompt": prompt, "max_tokens": new, "echo": True, "logprobs": 1, "temperature": 0}
        return self._ask(fields, give_up=give_up, tries=tries)

    def _ask(
        self, fields: Mapping[str, Any], *, give_up: threading.Event | None = None, tries: int | None = None
    ) -> dict[str, Any]:
        body = {"model": self.name, **fields, **self._more}
        try:
            return self.server.ask("/completions", body, give_up=give_up, tries=tries)
        except Refused as error:
            if isinstance(fields["prompt"], str) or error.status not in (400, 422):
                raise
            said = f"{error} Token ids were sent; where a server takes text alone, leave out the tokenizer's folder."
            raise Refused(said, error.status) from error
