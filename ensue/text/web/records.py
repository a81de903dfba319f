"""The records of a web archive (WARC, ISO 28500), as many as can be had from a damaged one."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ensue.text.streams import FileProgress, Unreadable, read_chunks
from ensue.text.web.bytestream import ByteStream
from ensue.text.web.members import READ_BYTES, Member, find_member

BLOCK_BYTES = 32 << 20
HEADER_BYTES = 1 << 18
LINE_BYTES = 1 << 16
VERSIONS = ("WARC/1.1", "WARC/1.0", "WARC/0.18", "WARC/0.17")
OPENING = b"WARC/"
_START = re.compile(rb"WARC/\d+\.\d+\s*$")

Damage = Callable[[str, str], None]


@dataclass(frozen=True)
class Record:
    """One record: its headers, and its block, None if that is longer than BLOCK_BYTES (`length` says how long)."""

    headers: Any
    block: bytes | None
    length: int

    def header(self, name: str) -> str:
        """A header's value, "" if there is none."""
        return str(self.headers.get_header(name) or "")


Stretch = tuple[int, int | None]
WHOLE: Stretch = (0, None)


def read_records(
    path: Path, packing: str, *, progress: FileProgress, damaged: Damage, stretch: Stretch = WHOLE
) -> Iterator[Record]:
    """The records of a .warc or .wet file in order, packed with gzip (one member a record, or otherwise), zstd or not.

    stretch  (begin, end), of a file packed with gzip: the members that begin at a byte b with begin <= b < end.
             Stretches that follow each other give every record once, of a damaged file too

    A damaged record or gzip member is told to `damaged` (reason, detail), and reading goes on with the next one found.
    Raises Unreadable for a file that cannot be opened and for damage in zstd data, which ends there.
    """
    if packing != ".gz":
        yield from _records(ByteStream(read_chunks(path, packing, progress)), damaged)
        return
    try:
        with path.open("rb") as raw:
            begin, stop = stretch
            member = find_member(raw, begin, OPENING, end=stop) if begin else Member(raw, 0)
            # A damaged member at the end is this stretch's, for the next one begins where something can be read.
            while member is not None and (stop is None or member.start < stop or not member.opens_with(OPENING)):
                try:
                    yield from _records(ByteStream(member.chunks()), damaged)
                except (zlib.error, EOFError) as error:
                    damaged("a damaged record", f"the gzip member at byte {member.start:,}: {error}")
                end, member = member.end, member.following(OPENING)
                if end is not None and _is_lost(raw, end, member):
                    damaged("a damaged record", f"no gzip member begins at byte {end:,}, where one should")
                if member is not None:
                    progress.reached(member.start)
    except PermissionError as error:
        raise Unreadable("permission to read it is missing", str(error.strerror)) from error
    except OSError as error:
        raise Unreadable("the file cannot be read", str(error)) from error


def _is_lost(raw: IO[bytes], end: int, found: Member | None) -> bool:
    """Whether something else than the next member, or the end of the file, is right behind a member's end."""
    if found is not None:
        return found.start != end
    raw.seek(end)
    return bool(raw.read(READ_BYTES).strip(b"\0"))  # zeros are padding


def _records(stream: ByteStream, damaged: Damage) -> Iterator[Record]:
    line = _next_full_line(stream)
    while line:
        if not _START.match(line):
            damaged("a damaged record", f"it begins with {line[:60]!r}")
            line = _next_start(stream)
            continue
        record, line = _record(line, stream)
        # Held back until what follows has been looked at: only there does damage within a gzip member show.
        if isinstance(record, str):
            damaged("a damaged record", record)
            line = _next_start(stream)
        else:
            yield record


def _record(first_line: bytes, stream: ByteStream) -> tuple[Record | str, bytes]:
    """The record that `first_line` begins and the line after it; or what is wrong with it, its bytes put back."""
    from warcio.statusandheaders import StatusAndHeadersParser

    head = _head(first_line, stream)
    if head is None:
        return "its headers do not end", b""
    try:
        headers = StatusAndHeadersParser(list(VERSIONS)).parse(_Lines(head), first_line)
        length = int(headers.get_header("Content-Length") or "")
    except (ValueError, EOFError, LookupError) as error:
        return f"its headers cannot be read ({error})", b""
    except Exception as error:  # warcio's own class derives from Exception alone
        return f"its headers cannot be read ({error})", b""
    if [name.lower() for name, _ in headers.headers].count("warc-type") != 1:
        return "its headers say no kind, or those of two records are mixed", b""
    block = stream.read(min(length, BLOCK_BYTES + 1))
    there = len(block) + stream.skip(length - len(block))
    line = _next_full_line(stream)
    if there < length or length < 0 or (line and not _START.match(line)):
        stream.put_back(block + line if there == len(block) else line)
        return f"its length is not {length:,}, as it says", b""
    return Record(headers, block if len(block) <= BLOCK_BYTES else None, length), line


def _head(first_line: bytes, stream: ByteStream) -> bytes | None:
    """The header lines after the first, to the blank one; None if another record begins before that."""
    lines: list[bytes] = []
    length = 0
    while length < HEADER_BYTES:
        line = stream.line(LINE_BYTES)
        if _START.match(line):
            stream.put_back(line)
            return None
        lines.append(line)
        length += len(line)
        if not line.strip():
            return b"".join(lines) if line else None
    return None


def _next_full_line(stream: ByteStream) -> bytes:
    while line := stream.line(LINE_BYTES):
        if line.strip():
            return line
    return b""


def _next_start(stream: ByteStream) -> bytes:
    """The next line that begins a record; b"" if there is none."""
    whole = True
    while line := stream.line(LINE_BYTES):
        if whole and _START.match(line):
            return line
        whole = line.endswith(b"\n")
    return b""


class _Lines:
    """What warcio's header parser reads from."""

    def __init__(self, data: bytes) -> None:
        self._lines = iter(data.splitlines(keepends=True))

    def readline(self) -> bytes:
        return next(self._lines, b"")
