"""The document: one text with an identity that follows it to the shard, the step and the score."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Document:
    """A text, where it came from, and an id that is a hash of both."""

    id: str
    text: str
    source: str
    meta: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, source: str, meta: Mapping[str, str] | None = None) -> Document:
        """The document for `text` from `source`; the same two always give the same id, on any machine."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(source.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
        digest.update(text.encode("utf-8", "surrogatepass"))
        return cls(digest.hexdigest(), text, source, dict(meta or {}))
