"""Bytes of plain and compressed files in bounded memory, and their text in whatever Unicode form it is stored."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

CHUNK_BYTES = 1 << 20
EMPTY = "empty"
UNTOLD = "convert it to UTF-8 first, for example: iconv -f latin1 -t utf-8 OLD > NEW"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose little-endian mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Unreadable(Exception):
    """Why the rest of a file cannot be used: a fixed reason, and the detail that differs between files."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason
        self.detail = detail


class FileProgress:
    """Tells a callback how many more bytes of one file have been consumed; in all never more than its size."""

    def __init__(self, size: int, on_bytes: Callable[[int], None]) -> None:
        self._size = size
        self._told = 0
        self._on_bytes = on_bytes

    def reached(self, position: int) -> None:
        """The first `position` bytes of the file are done with."""
        more = min(position, self._size) - self._told
        if more > 0:
            self._told += more
            self._on_bytes(more)

    def finish(self) -> None:
        """The whole file is done with, read or skipped."""
        self.reached(self._size)


def read_chunks(path: Path, packing: str, progress: FileProgress) -> Iterator[bytes]:
    """The bytes of a file, unpacked (`packing` is "", ".gz" or ".zst"), about a MiB at a time.

    Raises Unreadable for a file that cannot be opened and for damaged or truncated compressed data, after the chunks
    that could still be had.
    """
    with _opened(path, packing) as raw:
        stream = _unpacked(raw, packing)
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
            progress.reached(raw.tell())


def read_line_stretch(path: Path, begin: int, end: int) -> Iterator[bytes]:
    """The bytes of those lines of a plain file that begin at a byte b with begin <= b < end, about a MiB at a time.

    Stretches that follow each other give every line once. Raises Unreadable as `read_chunks` does.
    """
    with _opened(path, "") as raw:
        place = _next_line(raw, begin)
        raw.seek(place)
        while place < end and (chunk := raw.read(CHUNK_BYTES)):
            last = chunk.find(b"\n", max(end - 1 - place, 0)) + 1
            if last:
                yield chunk[:last]
                return
            yield chunk
            place += len(chunk)
            end = max(end, place + 1)  # until the last line ends


def _next_line(raw: IO[bytes], begin: int) -> int:
    """The first place from `begin` on where a line begins, or the end of the file."""
    if not begin:
        return 0
    place = raw.seek(begin - 1)
    while chunk := raw.read(CHUNK_BYTES):
        if (at := chunk.find(b"\n")) >= 0:
            return place + at + 1
        place += len(chunk)
    return place


@contextmanager
def _opened(path: Path, packing: str) -> Iterator[IO[bytes]]:
    """A file, errors of which are told as Unreadable."""
    try:
        with path.open("rb") as raw:
            yield raw
    except PermissionError as error:
        raise Unreadable("permission to read it is missing", str(error.strerror)) from error
    except (OSError, EOFError, zlib.error) as error:
        if packing:
            raise Unreadable("the compressed data is damaged or cut short", str(error)) from error
        raise Unreadable("the file cannot be read", str(error)) from error


def _unpacked(raw: IO[bytes], packing: str) -> Any:
    if packing == ".gz":
        return gzip.GzipFile(fileobj=raw)
    if packing == ".zst":
        import pyarrow

        # pyarrow's reader notices a stream that was cut short; that of the zstandard package ends silently.
        return pyarrow.CompressedInputStream(raw, "zstd")
    return raw


def text_chunks(chunks: Iterable[bytes], *, detect_encoding: bool = False) -> Iterator[str]:
    """Decode UTF-8, or UTF-16 or UTF-32 with a byte order mark; the mark is dropped and "\\r\\n" becomes "\\n".

    Raises Unreadable, after the text before it, at the first byte that is not text in that encoding. With
    `detect_encoding`, what has no mark may be in any encoding that can be told from its beginning, and a byte that is
    wrong in it becomes U+FFFD, as long as there are few of them.
    """
    mark, codec, chunks = _encoding_of(chunks)
    if detect_encoding:
        codec, chunks = (codec, chunks) if mark else _told_encoding(chunks)
        yield from _tolerated(chunks, codec)
        return
    decoder = codecs.getincrementaldecoder(codec)("strict")
    offset = len(mark)
    held = ""
    for chunk in chain(chunks, [b""]):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise Unreadable(f"not {_public_name(codec)} text", _wrong_byte(error, offset - pending)) from error
        if (at := text.find("\0")) >= 0:
            position = offset - pending + len(text[:at].encode(codec))
            raise Unreadable("binary, not text", f"a zero byte at offset {position:,}")
        offset += len(chunk)
        text = held + text
        # A "\r" at the end of a chunk may be half of "\r\n".
        held = "\r" if chunk and text.endswith("\r") else ""
        yield text[: len(text) - len(held)].replace("\r\n", "\n")


def _told_encoding(chunks: Iterable[bytes]) -> tuple[str, Iterator[bytes]]:
    """The encoding that the beginning of a file speaks for, and all of its chunks."""
    from ensue.text.encodings import encoding_of_text

    rest = iter(chunks)
    head = b""
    for chunk in rest:
        head += chunk
        if len(head) >= CHUNK_BYTES:
            break
    codec = encoding_of_text(head)
    if codec is None and (at := head.find(0)) >= 0:
        raise Unreadable("binary, not text", f"a zero byte at offset {at:,}")
    if codec is None:
        raise Unreadable("the encoding cannot be told", UNTOLD)
    return codec, chain([head] if head else [], rest)


def _tolerated(chunks: Iterable[bytes], codec: str) -> Iterator[str]:
    """The text, with U+FFFD for what is no text. Raises Unreadable where that is too much, or at a zero byte."""
    decoder = codecs.getincrementaldecoder(codec)("replace")
    offset = 0
    held = ""
    for chunk in chain(chunks, [b""]):
        text = held + decoder.decode(chunk, final=not chunk)
        if "\0" in text:
            raise Unreadable("binary, not text", f"a zero byte near offset {offset:,}")
        if text.count("\ufffd") * 100 > max(len(text), 200):
            raise Unreadable(f"not {_public_name(codec)} text", f"too many wrong bytes after offset {offset:,}")
        offset += len(chunk)
        held = "\r" if chunk and text.endswith("\r") else ""
        yield text[: len(text) - len(held)].replace("\r\n", "\n")


def line_chunks(chunks: Iterable[bytes], *, limit: int) -> Iterator[bytes | None]:
    """The lines of a file as UTF-8 bytes without their line ends; None in the place of one longer than `limit` bytes.

    The bytes are not checked, so that one bad line does not cost the others. An over-long line is never held whole.
    """
    mark, codec, chunks = _encoding_of(chunks)
    if codec != "utf-8":
        chunks = (text.encode() for text in text_chunks(chain([mark], chunks)))
    line = bytearray()
    too_long = False
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        for piece in rest:
            yield None if too_long or len(line) + len(first) > limit else bytes(line) + first
            line, too_long, first = bytearray(), False, piece
        too_long = too_long or len(line) + len(first) > limit
        if too_long:
            line = bytearray()
        else:
            line += first
    if too_long or line:
        yield None if too_long else bytes(line)


def _encoding_of(chunks: Iterable[bytes]) -> tuple[bytes, str, Iterator[bytes]]:
    """The byte order mark, the encoding it stands for (UTF-8 where there is none), and the chunks after it."""
    rest = iter(chunks)
    head = b""
    for chunk in rest:
        head += chunk
        if len(head) >= 4:
            break
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return mark, codec, chain([head[len(mark) :]] if len(head) > len(mark) else [], rest)
    return b"", "utf-8", chain([head] if head else [], rest)


def _public_name(codec: str) -> str:
    return codec.upper().removesuffix("-LE").removesuffix("-BE")


def _wrong_byte(error: UnicodeDecodeError, start: int) -> str:
    return (
        f"byte 0x{error.object[error.start]:02x} at offset {start + error.start:,}; if it is in another encoding, "
        "convert it first, for example: iconv -f latin1 -t utf-8 OLD > NEW"
    )
