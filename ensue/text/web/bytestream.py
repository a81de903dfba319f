"""Lines and stretches of a stream of chunks, with bounded memory and a way back."""

from __future__ import annotations

from collections.abc import Iterator


class ByteStream:
    """Reads chunks as lines and as stretches of bytes; what was taken by mistake can be put back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""
        self._at = 0

    def line(self, limit: int) -> bytes:
        """Up to and with the next line end, or `limit` bytes of it; nothing at the end of the stream."""
        parts: list[bytes] = []
        length = 0
        while self._fill():
            end = self._held.find(b"\n", self._at, self._at + limit - length) + 1
            part = self._take(end - self._at if end else limit - length)
            parts.append(part)
            length += len(part)
            if end or length >= limit:
                break
        return b"".join(parts)

    def read(self, length: int) -> bytes:
        """`length` bytes, fewer only at the end of the stream."""
        parts: list[bytes] = []
        while length > 0 and self._fill():
            part = self._take(length)
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def skip(self, length: int) -> int:
        """Pass over `length` bytes without holding them; how many there were."""
        left = length
        while left > 0 and self._fill():
            left -= len(self._take(left))
        return length - left

    def put_back(self, data: bytes) -> None:
        """The next thing read is `data` again."""
        self._held = data + self._held[self._at :]
        self._at = 0

    def _fill(self) -> bool:
        while self._at >= len(self._held):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._held, self._at = chunk, 0
        return True

    def _take(self, length: int) -> bytes:
        part = self._held[self._at : self._at + length]
        self._at += len(part)
        return part
