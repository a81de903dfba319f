"""How a server is set up, checked before anything is loaded."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

KEY_VARIABLE = "ENSUE_API_KEY"
"""The environment variable that holds the key."""


@dataclass(frozen=True)
class Limits:
    """What one client may take.

    body       bytes of a request
    choices    texts that one request may ask for: its prompts times n (or best_of)
    queue      texts that may be waiting or being written in all; a request that would make more is answered 429
    seconds    of a request, from its first byte to the last of the answer
    tokens     new tokens of a text at most; None is what the model's context has room for
    """

    body: int = 4 << 20
    choices: int = 128
    queue: int = 256
    seconds: float = 600.0
    tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("body", "choices", "queue", "seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"a limit of {getattr(self, name)} for {name} lets nothing in; give more than 0.")
        if self.tokens is not None and self.tokens < 1:
            raise ValueError(f"a limit of {self.tokens} tokens lets nothing be written; give 1 or more.")
        if self.queue < self.choices:
            raise ValueError(
                f"a queue of {self.queue} could never take the {self.choices} texts that one request may ask for; give "
                "a longer queue, or fewer choices."
            )


@dataclass(frozen=True)
class ServeSettings:
    """Where it listens, who may ask, and what of it is written down.

    name           of the model, as clients give it
    key            what clients send as `Authorization: Bearer KEY`; needed for any address but this machine's own
    origins        web pages that may ask from a browser (CORS); none unless said
    log_text       write prompts and answers to the log
    chat_template  `plain`, or a file with a template in Jinja; the model's own unless said
    """

    name: str
    host: str = "127.0.0.1"
    port: int = 8000
    key: str | None = field(default=None, repr=False)
    origins: tuple[str, ...] = ()
    log_text: bool = False
    chat_template: str | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise ValueError(f"port {self.port} is none; give a number from 0 to 65535, where 0 takes a free one.")
        if self.key is not None and not self.key.strip():
            raise ValueError("the API key is empty; give one that cannot be guessed.")
        if self.key is None and not is_loopback(self.host):
            raise ValueError(
                f"{self.host} can be reached from other machines, so an API key is needed: set {KEY_VARIABLE}, or give "
                "--api-key-file FILE. Without --host it serves this machine only."
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_key(path: Path) -> str:
    """The key in a file, without the space around it. Raises ValueError where there is none."""
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the API key cannot be read from {path}: {error}.") from error
    if not key:
        raise ValueError(f"{path} is empty; write a key into it that cannot be guessed.")
    return key
