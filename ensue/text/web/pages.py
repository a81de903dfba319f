"""Documents from web archives and from HTML files; a page that is still HTML says so: its type is text/html."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ensue.text.document import Document
from ensue.text.encodings import decode_page, encoding_of_text
from ensue.text.skips import SkipReport
from ensue.text.streams import EMPTY, FileProgress, Unreadable
from ensue.text.web.http import PAGE_BYTES, TOO_LARGE, parse_content_type, parse_response
from ensue.text.web.records import BLOCK_BYTES, WHOLE, Record, Stretch, read_records

HTML = "text/html"
_HTML_KINDS = (HTML, "application/xhtml+xml")
_TEXT_KINDS = ("text/plain", "text/markdown")
_HTML_OPENINGS = (b"<!doctype html", b"<html", b"<head", b"<body")
_NO_PAGES = ("warcinfo", "request", "metadata", "revisit", "continuation")


def read_archive(
    path: Path, packing: str, name: str, *, skipped: SkipReport, progress: FileProgress, stretch: Stretch = WHOLE
) -> Iterator[Document]:
    """The pages of a .warc file and the texts of a .wet file, as documents called `name:17` after the record's number.

    Responses (with a status of 200) and resources become documents of type text/html or text/plain, conversions ones
    without a type. Their meta has "url" and "date" as the archive says, and "encoding" unless that is UTF-8. What is
    not text, is damaged or unpacks to more than PAGE_BYTES is counted in `skipped`. Raises Unreadable for a file
    that has no record.
    """
    number = 0

    def damaged(reason: str, detail: str) -> None:
        nonlocal number
        number += 1
        skipped.add(f"{name}:{number}", reason, detail)

    for record in read_records(path, packing, progress=progress, damaged=damaged, stretch=stretch):
        number += 1
        if record.header("WARC-Type") in _NO_PAGES:
            continue
        source = f"{name}:{number}"
        try:
            yield _document(record, source)
        except Unreadable as error:
            skipped.add(source, error.reason, f"{record.header('WARC-Target-URI')[:200]} {error.detail}".strip())
    if not number:
        raise Unreadable(EMPTY, "no records")


def read_html(chunks: Iterable[bytes], name: str) -> Iterator[Document]:
    """The one document of an HTML file. Raises Unreadable for one longer than PAGE_BYTES when unpacked."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > PAGE_BYTES:
            raise Unreadable(TOO_LARGE, f"more than {PAGE_BYTES >> 20} MiB")
    yield _page(bytes(data), name, {}, HTML, "")


def _document(record: Record, source: str) -> Document:
    if record.block is None:
        raise Unreadable(TOO_LARGE, f"{record.length:,} bytes, more than {BLOCK_BYTES >> 20} MiB")
    meta = {"url": record.header("WARC-Target-URI").strip("<>"), "date": record.header("WARC-Date")}
    meta = {key: value for key, value in meta.items() if value}
    kind = record.header("WARC-Type")
    if kind == "conversion":
        return _text(record.block, source, meta, "")
    if kind == "resource":
        kind, charset = parse_content_type(record.header("Content-Type"))
        return _page(record.block, source, meta, kind, charset)
    if kind != "response":
        raise Unreadable("a kind of record that is not known", kind[:40])
    if not meta.get("url", "").lower().startswith(("http:", "https:")):
        raise Unreadable("not a web page")
    response = parse_response(record.block)
    if response.status != 200:
        raise Unreadable("the server did not answer with a page", f"status {response.status}")
    kind = response.kind or record.header("WARC-Identified-Payload-Type").lower()
    return _page(response.body, source, meta, kind, response.charset)


def _page(data: bytes, source: str, meta: dict[str, str], kind: str, charset: str) -> Document:
    if not data or data.isspace():
        raise Unreadable(EMPTY)
    if kind in _TEXT_KINDS:
        return _text(data, source, {**meta, "type": kind}, charset)
    if kind not in _HTML_KINDS and (kind or not data[:1024].lstrip().lower().startswith(_HTML_OPENINGS)):
        raise Unreadable("not a text or a web page", kind[:80])
    return _decoded(data, source, {**meta, "type": HTML}, charset)


def _text(data: bytes, source: str, meta: dict[str, str], charset: str) -> Document:
    return _decoded(data, source, meta, charset or encoding_of_text(data) or "")


def _decoded(data: bytes, source: str, meta: dict[str, str], charset: str) -> Document:
    decoded = decode_page(data, declared=charset)
    if decoded is None:
        raise Unreadable("the encoding cannot be told")
    text, encoding = decoded
    if encoding != "utf-8":
        meta["encoding"] = encoding
    # No text needs zero bytes, and few programs that come after can stand them.
    if "\r" in text or "\0" in text:  # which one is told in a tenth of the time that two replacements take
        text = text.replace("\r\n", "\n").replace("\0", "")
    if not text or text.isspace():
        raise Unreadable(EMPTY)
    return Document.of(text, source, meta)
