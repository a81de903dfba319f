"""An HTTP response as an archive stores it: its status, its content type, and its body unpacked."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import Any

from ensue.text.streams import Unreadable

PAGE_BYTES = 32 << 20
TOO_LARGE = "the page is too large"
READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Response:
    """status  such as 200; 0 if the status line says none
    kind     the content type without its parameters, in lower case, such as text/html; "" if there is none
    charset  what the content type declares; "" if nothing
    body     as the server meant it, no longer in chunks or packed
    """

    status: int
    kind: str
    charset: str
    body: bytes


def parse_response(block: bytes) -> Response:
    """The response that the block of a WARC record holds.

    Raises Unreadable for what is no response, is packed in a way that is not known or damaged, or is longer than
    PAGE_BYTES once unpacked.
    """
    from warcio.bufferedreaders import ChunkedDataReader
    from warcio.statusandheaders import StatusAndHeadersParser

    stream = io.BytesIO(block)
    try:
        headers = StatusAndHeadersParser(["HTTP/1.0", "HTTP/1.1", "HTTP/2"], verify=False).parse(stream)
    except (EOFError, ValueError) as error:
        raise Unreadable("not an HTTP response", str(error)) from error
    kind, charset = parse_content_type(_header(headers, "content-type"))
    body: Any = stream
    if _header(headers, "transfer-encoding").lower() == "chunked":
        body = ChunkedDataReader(stream)
    data = _unpacked(body.read(), _header(headers, "content-encoding"))
    code = headers.get_statuscode()
    return Response(int(code) if code.isascii() and code.isdigit() else 0, kind, charset, data)


def parse_content_type(value: str) -> tuple[str, str]:
    """The kind and the charset of a content type: ("text/html", "gb2312")."""
    kind, *parameters = value.split(";")
    for parameter in parameters:
        name, _, charset = parameter.partition("=")
        if name.strip().lower() == "charset":
            return kind.strip().lower(), charset.strip().strip("\"'")
    return kind.strip().lower(), ""


def _header(headers: Any, name: str) -> str:
    return str(headers.get_header(name) or "").strip()


def _unpacked(data: bytes, encoding: str) -> bytes:
    for packing in reversed([part.strip().lower() for part in encoding.split(",") if part.strip()]):
        if packing in ("gzip", "x-gzip", "deflate"):
            data = _inflated(data)
        elif packing in ("br", "zstd"):
            data = _by_arrow(data, "brotli" if packing == "br" else "zstd")
        elif packing not in ("identity", "utf-8"):
            raise Unreadable("the page is packed in a way that is not known", packing[:40])
    if len(data) > PAGE_BYTES:
        raise Unreadable(TOO_LARGE, f"more than {PAGE_BYTES >> 20} MiB")
    return data


def _inflated(data: bytes) -> bytes:
    window = zlib.MAX_WBITS | 32 if _has_header(data) else -zlib.MAX_WBITS
    unpacker = zlib.decompressobj(window)
    try:
        unpacked = unpacker.decompress(data, PAGE_BYTES + 1)
    except zlib.error as error:
        if _looks_plain(data):
            return data  # stored unpacked, under the headers that it came with
        raise Unreadable("the packed page is damaged", str(error)) from error
    if not unpacker.eof and len(unpacked) <= PAGE_BYTES:
        raise Unreadable("the packed page is damaged", "it ends too early")
    return unpacked


def _has_header(data: bytes) -> bool:
    """Whether it opens as gzip does or as zlib does (RFC 1950); some servers send deflate data without either."""
    return data[:2] == b"\x1f\x8b" or (len(data) > 1 and data[0] & 15 == 8 and (data[0] * 256 + data[1]) % 31 == 0)


def _by_arrow(data: bytes, codec: str) -> bytes:
    import pyarrow

    try:
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), codec) as stream:
            return bytes(stream.read(PAGE_BYTES + 1))
    except (OSError, pyarrow.ArrowException) as error:
        if _looks_plain(data):
            return data
        raise Unreadable("the packed page is damaged", str(error)[:200]) from error


def _looks_plain(data: bytes) -> bool:
    return data.lstrip()[:1] == b"<"
