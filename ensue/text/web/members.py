"""A gzip file member by member, so that a damaged one costs itself and not those after it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO

MAGIC = b"\x1f\x8b\x08"
READ_BYTES = 1 << 14
CHUNK_BYTES = 1 << 20
SEARCH_BYTES = 1 << 20


class Member:
    """One gzip member of a file: the place where it starts and, once its chunks have been read, where it ends (None
    if it is damaged)."""

    def __init__(self, raw: IO[bytes], start: int) -> None:
        self.start = start
        self._raw = raw
        self.end: int | None = None

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, unpacked, at most a MiB at a time. Raises zlib.error or EOFError where it is damaged."""
        self._raw.seek(self.start)
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        while not unpacker.eof:
            packed = unpacker.unconsumed_tail or self._raw.read(READ_BYTES)
            if not packed:
                raise EOFError("the file ends within it")
            if chunk := unpacker.decompress(packed, CHUNK_BYTES):
                yield chunk
        self.end = self._raw.tell() - len(unpacker.unused_data)

    def following(self, opening: bytes) -> Member | None:
        """The next member: right behind this one or, if this one is damaged or what follows is none, the next place
        in the file at which something unpacks that begins with `opening`."""
        if self.end is not None:
            self._raw.seek(self.end)
            head = self._raw.read(len(MAGIC))
            if head == MAGIC:
                return Member(self._raw, self.end)
            if not head:
                return None
        return find_member(self._raw, self.start + 1 if self.end is None else self.end, opening)

    def opens_with(self, opening: bytes) -> bool:
        """Whether it begins with that, once unpacked."""
        self._raw.seek(self.start)
        try:
            return (
                zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(self._raw.read(READ_BYTES), 64).startswith(opening)
            )
        except zlib.error:
            return False


def find_member(raw: IO[bytes], begin: int, opening: bytes, *, end: int | None = None) -> Member | None:
    """The first place from byte `begin` on, and before `end`, at which something unpacks that begins with `opening`."""
    place = begin
    while end is None or place < end:
        raw.seek(place)
        block = raw.read(SEARCH_BYTES)
        at = block.find(MAGIC)
        while at >= 0 and (end is None or place + at < end):
            if (member := Member(raw, place + at)).opens_with(opening):
                return member
            at = block.find(MAGIC, at + 1)
        if len(block) < SEARCH_BYTES:
            return None
        place += len(block) - len(MAGIC) + 1
    return None
