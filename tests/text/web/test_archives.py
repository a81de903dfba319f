"""Web archives and HTML files: what comes out of sound ones, and how little a damaged one costs."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import sys
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pyarrow
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from ensue.text.document import Document
from ensue.text.find import FoundFile, endings, find_files, kind_of
from ensue.text.read import read_documents, read_found_file
from ensue.text.skips import SkipReport
from ensue.text.web import http, records

HTML = "<html><head><title>{0}</title></head><body><p>Page {0}: 你好，世界, größer.</p></body></html>"
PAGES = [HTML.format(number) for number in range(6)]


def response(
    writer: WARCWriter,
    url: str,
    body: bytes,
    kind: str = "text/html; charset=utf-8",
    status: str = "200 OK",
    **more: str,
) -> None:
    headers = [("Content-Type", kind)] if kind else []
    headers += [(name.replace("_", "-"), value) for name, value in more.items()]
    http_headers = StatusAndHeaders(status, headers, protocol="HTTP/1.1")
    writer.write_record(
        writer.create_warc_record(
            url, "response", payload=io.BytesIO(body), http_headers=http_headers, warc_headers_dict=DATED
        )
    )


DATED = {"WARC-Date": "2017-06-01T12:00:00Z"}


def archive(pages: Iterable[str] = PAGES, *, packed: bool = True) -> bytes:
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=packed)
    writer.write_record(writer.create_warcinfo_record("x.warc.gz", {"software": "tests"}))
    for number, page in enumerate(pages):
        response(writer, f"http://example.org/{number}", page.encode())
    return out.getvalue()


@cache
def sound(packed: bool) -> bytes:
    """The same bytes each time: records have random names."""
    return archive(packed=packed)


def read(path: Path, data: bytes) -> tuple[list[Document], SkipReport]:
    path.write_bytes(data)
    skipped = SkipReport()
    told: list[int] = []
    documents = list(read_found_file(FoundFile(path, path.name), skipped=skipped, on_bytes=told.append))
    assert sum(told) == len(data)
    return documents, skipped


@pytest.mark.parametrize("name", ["x.warc", "x.warc.gz", "x.WARC.zst", "one.warc.gz"])
def test_pages_of_an_archive_however_packed(tmp_path: Path, name: str) -> None:
    data = archive(packed=name == "x.warc.gz")
    data = zstandard.compress(data) if name.endswith("zst") else gzip.compress(data) if name[0] == "o" else data
    documents, skipped = read(tmp_path / name, data)
    assert skipped.count == 0
    assert [document.text for document in documents] == PAGES
    assert documents[2].source == f"{name}:4"
    assert documents[2].meta == {"url": "http://example.org/2", "date": "2017-06-01T12:00:00Z", "type": "text/html"}


@pytest.mark.parametrize("name", ["x.wet", "x.warc.wet.gz"])
def test_texts_of_a_wet_file(tmp_path: Path, name: str) -> None:
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=name.endswith("gz"))
    for text in ("one\r\ntwo", "漢字"):
        record = writer.create_warc_record(
            "http://e.org/",
            "conversion",
            io.BytesIO(text.encode()),
            warc_content_type="text/plain",
            warc_headers_dict=DATED,
        )
        writer.write_record(record)
    documents, skipped = read(tmp_path / name, out.getvalue())
    assert [document.text for document in documents] == ["one\ntwo", "漢字"]
    assert documents[0].meta == {"url": "http://e.org/", "date": "2017-06-01T12:00:00Z"}
    assert skipped.count == 0


def test_what_is_no_page_is_counted(tmp_path: Path) -> None:
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    response(writer, "http://e.org/gone", b"<html>not here</html>", status="404 Not Found")
    response(writer, "http://e.org/picture", b"\x89PNG...", kind="image/png")
    response(writer, "http://e.org/empty", b"  ")
    response(writer, "http://e.org/plain", "schön".encode("cp1252"), kind="text/plain; charset=iso-8859-1")
    response(writer, "http://e.org/untold", b"<!DOCTYPE html><html><body>a page</body></html>", kind="")
    response(writer, "http://e.org/packed", b"...", Content_Encoding="rot13")
    writer.write_record(writer.create_warc_record("dns:e.org", "response", io.BytesIO(b"e.org. 1 IN A 127.0.0.1")))
    writer.write_record(
        writer.create_warc_record(
            "file:///x.html", "resource", io.BytesIO(b"<p>kept</p>"), warc_content_type="text/html"
        )
    )
    documents, skipped = read(tmp_path / "x.warc.gz", out.getvalue())
    assert [(document.text, document.meta["type"]) for document in documents] == [
        ("schön", "text/plain"),
        ("<!DOCTYPE html><html><body>a page</body></html>", "text/html"),
        ("<p>kept</p>", "text/html"),
    ]
    assert skipped.reasons() == {
        "the server did not answer with a page": 1,
        "not a text or a web page": 1,
        "empty": 1,
        "the page is packed in a way that is not known": 1,
        "not a web page": 1,
    }
    assert skipped.examples("empty") == ["x.warc.gz:3"]


def chunked(data: bytes) -> bytes:
    pieces = [data[start : start + 10] for start in range(0, len(data), 10)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def test_bodies_as_servers_send_them(tmp_path: Path) -> None:
    page = PAGES[0].encode()
    raw_deflate = zlib.compressobj(wbits=-15)
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    response(writer, "http://e.org/1", gzip.compress(page), Content_Encoding="gzip")
    response(writer, "http://e.org/2", zlib.compress(page), Content_Encoding="deflate")
    response(writer, "http://e.org/3", raw_deflate.compress(page) + raw_deflate.flush(), Content_Encoding="deflate")
    response(writer, "http://e.org/4", bytes(pyarrow.compress(page, "brotli", asbytes=True)), Content_Encoding="br")
    response(writer, "http://e.org/5", zstandard.compress(page), Content_Encoding="zstd")
    response(
        writer, "http://e.org/6", chunked(gzip.compress(page)), Content_Encoding="gzip", Transfer_Encoding="chunked"
    )
    response(writer, "http://e.org/7", chunked(page), Transfer_Encoding="chunked")
    response(writer, "http://e.org/8", page, Content_Encoding="gzip")
    response(writer, "http://e.org/9", page, Content_Encoding="br", Transfer_Encoding="chunked")
    response(writer, "http://e.org/10", gzip.compress(page)[:-20], Content_Encoding="gzip")
    documents, skipped = read(tmp_path / "x.warc.gz", out.getvalue())
    assert [document.text for document in documents] == [PAGES[0]] * 9
    assert skipped.reasons() == {"the packed page is damaged": 1}


def test_a_page_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAGE_BYTES", 1 << 20)
    monkeypatch.setattr(records, "BLOCK_BYTES", 1 << 21)
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    bomb = b"<html>" + b"a" * (1 << 22)
    for name, data in (
        ("gzip", gzip.compress(bomb)),
        ("br", bytes(pyarrow.compress(bomb, "brotli", asbytes=True))),
        ("zstd", zstandard.compress(bomb)),
        ("identity", bomb),
        ("identity", bomb[: 3 << 19]),
    ):
        response(writer, "http://e.org/", data, Content_Encoding=name)
    response(writer, "http://e.org/", PAGES[0].encode())
    documents, skipped = read(tmp_path / "x.warc.gz", out.getvalue())
    assert [document.text for document in documents] == PAGES[:1]
    assert skipped.reasons() == {"the page is too large": 5}


def member_starts(data: bytes) -> list[int]:
    starts, at = [], 0
    while at < len(data):
        starts.append(at)
        unpacker = zlib.decompressobj(31)
        unpacker.decompress(data[at:])
        at = len(data) - len(unpacker.unused_data)
    return starts


@pytest.mark.parametrize("place", ["header", "middle", "checksum", "garbage", "end"])
def test_a_damaged_gzip_member_costs_one_page(tmp_path: Path, place: str) -> None:
    data = bytearray(archive())
    starts = [*member_starts(bytes(data)), len(data)]
    third, fourth = starts[3], starts[4]
    if place == "header":
        data[third] ^= 0xFF
    elif place == "middle":
        middle = (third + fourth) // 2
        data[middle : middle + 20] = bytes(20)
    elif place == "checksum":
        data[fourth - 8] ^= 0xFF
    elif place == "garbage":
        data[third:third] = b"\x1f\x8b\x08 this is no member " * 3
    else:
        del data[-20:]
    documents, skipped = read(tmp_path / "x.warc.gz", bytes(data))
    texts = [document.text for document in documents]
    lost = {"header": PAGES[2:3], "middle": PAGES[2:3], "checksum": PAGES[2:3], "garbage": [], "end": PAGES[5:]}[place]
    assert texts == [page for page in PAGES if page not in lost]
    if place in ("middle", "checksum", "end"):
        assert skipped.reasons() == {"a damaged record": 1}
        assert documents[-1].source == ("x.warc.gz:6" if place == "end" else "x.warc.gz:7")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("length", [b"0", b"5", b"99999", b"-3", b"many", b"9" * 30, b""])
def test_a_record_with_a_wrong_length(tmp_path: Path, packed: bool, length: bytes) -> None:
    plain = archive(packed=False)
    places = [at for at in range(len(plain)) if plain.startswith(b"WARC/1.0\r\n", at)]
    parts = [plain[start:end] for start, end in zip(places, [*places[1:], len(plain)], strict=True)]
    head, _, rest = parts[3].partition(b"Content-Length: ")
    parts[3] = head + b"Content-Length: " + length + rest[rest.index(b"\r\n") :]
    data = b"".join(map(gzip.compress, parts)) if packed else b"".join(parts)
    documents, skipped = read(tmp_path / ("x.warc.gz" if packed else "x.warc"), data)
    assert [document.text for document in documents] == PAGES[:2] + PAGES[3:]
    assert skipped.count >= 1


def test_headers_without_end_and_a_file_that_is_no_archive(tmp_path: Path) -> None:
    endless = b"WARC/1.0\r\n" + b"X-Header: and so on\r\n" * 100_000 + b"\r\n" + archive(packed=False)
    documents, skipped = read(tmp_path / "x.warc", endless)
    assert [document.text for document in documents] == PAGES
    assert skipped.reasons() == {"a damaged record": 1}
    for name, data in (
        ("x.warc", b"just text\n" * 50),
        ("x.warc.gz", b"just text"),
        ("y.warc.gz", gzip.compress(b"text")),
    ):
        documents, skipped = read(tmp_path / name, data)
        assert documents == []
        assert set(skipped.reasons()) <= {"a damaged record", "empty"}
        assert skipped.count
    documents, skipped = read(tmp_path / "x.warc", b"WARC/1.0\r\n" + b"x" * 3_000_000)
    assert (documents, skipped.reasons()) == ([], {"a damaged record": 1})


def test_zstd_damage_ends_the_file_and_is_named(tmp_path: Path) -> None:
    pages = [HTML.format(random.Random(number).randbytes(100_000).hex()) for number in range(40)]
    data = b"".join(zstandard.compress(archive([page], packed=False)) for page in pages)
    documents, skipped = read(tmp_path / "x.warc.zst", data[: len(data) * 3 // 4])
    assert [document.text for document in documents] == pages[: len(documents)]
    assert len(documents) > 20
    assert list(skipped.reasons()) == ["the compressed data is damaged or cut short"]


def test_a_record_whose_gzip_header_is_damaged_is_counted(tmp_path: Path) -> None:
    content = sound(packed=True)
    starts = [at for at in range(len(content)) if content.startswith(b"\x1f\x8b\x08\x00", at)]
    for start in starts[1:]:
        documents, skipped = read(tmp_path / "x.warc.gz", content[:start] + b"?" + content[start + 1 :])
        assert len(documents) == len(PAGES) - 1
        assert list(skipped.reasons()) == ["a damaged record"]
    documents, skipped = read(tmp_path / "x.warc.gz", content + bytes(100))
    assert len(documents) == len(PAGES)
    assert skipped.count == 0


@settings(max_examples=60)
@given(st.data())
def test_nothing_breaks_whatever_bytes_are_wrong(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    packed = data.draw(st.booleans())
    content = bytearray(sound(packed))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
    folder = tmp_path_factory.mktemp("damaged")
    documents, skipped = read(folder / ("x.warc.gz" if packed else "x.warc"), bytes(content))
    whole = {document.text for document in documents} & set(PAGES)
    # At most three places are damaged, each of them in one record or where two meet.
    assert len(whole) >= len(PAGES) - 6
    assert len(whole) == len(PAGES) or skipped.count or len(documents) > len(whole)


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize("kind", [".html", ".htm"])
def test_html_files(tmp_path: Path, kind: str, packing: str) -> None:
    data = '<html><head><meta charset="windows-1251"></head><body>Привет\r\nмир, это страница</body></html>'.encode(
        "cp1251"
    )
    packed = gzip.compress(data) if packing == ".gz" else zstandard.compress(data) if packing else data
    documents, skipped = read(tmp_path / f"x{kind}{packing}", packed)
    assert skipped.count == 0
    [document] = documents
    assert "Привет\nмир" in document.text
    assert document.meta == {"type": "text/html", "encoding": "cp1251"}
    assert document.source == f"x{kind}{packing}"


def test_an_html_bomb(tmp_path: Path) -> None:
    bomb = gzip.compress(b"<p>" + bytes(200 << 20))
    documents, skipped = read(tmp_path / "x.html.gz", bomb)
    assert (documents, skipped.reasons()) == ([], {"the page is too large": 1})


def test_which_kinds_are_read(tmp_path: Path) -> None:
    assert kind_of("CC-MAIN.warc.gz") == (".warc", ".gz")
    assert kind_of("CC-MAIN.warc.wet.gz") == (".wet", ".gz")
    assert kind_of("x.html") == (".html", "")
    assert kind_of("x.html", (".txt",)) is None
    assert ".html" in endings(None)
    assert ".html" not in endings()
    (tmp_path / "a.html").write_text("<p>page</p>")
    (tmp_path / "b.txt").write_text("text")
    skipped = SkipReport()
    assert [document.text for document in read_documents([tmp_path], skipped=skipped)] == ["text"]
    assert skipped.reasons() == {"not a kind that is read": 1}
    assert [document.text for document in read_documents([tmp_path], skipped=skipped, kinds=None)] == [
        "<p>page</p>",
        "text",
    ]
    (tmp_path / "b.txt").unlink()
    with pytest.raises(ValueError, match="holds no text"):
        find_files([tmp_path])
    assert find_files([tmp_path], kinds=None) == [tmp_path / "a.html"]


MEASURE = r"""
import re, sys
from pathlib import Path
from ensue.text.find import FoundFile
from ensue.text.read import read_found_file
from ensue.text.skips import SkipReport
skipped = SkipReport()
found = FoundFile(Path(sys.argv[1]), "x" + sys.argv[2])
total = sum(len(document.text) for document in read_found_file(found, skipped=skipped, detect_encoding=True))
held = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
print(total, skipped.reasons(), held >> 10)
"""


def peak(path: Path, ending: str) -> tuple[str, int]:
    """What a process of its own says after reading the file, and how many MiB it held at most."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), ending], capture_output=True, text=True, check=True
    )
    said, _, mebibytes = done.stdout.strip().rpartition(" ")
    return said, int(mebibytes)


def test_memory_is_bounded_whatever_unpacks(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        header = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: %d\r\n\r\n"
        file.write(header % (400 << 20))
        for _ in range(400):
            file.write(b"a" * (1 << 20))
        file.write(b"\r\n\r\n" + header % 5 + b"hello\r\n\r\n")
    said, held = peak(bomb, ".warc.gz")
    assert said == "5 {'the page is too large': 1}"
    assert held < 300
    said, held = peak(bomb, ".txt.gz")
    assert said.startswith(str(400 << 20)[:4])
    assert held < 300
