"""EPUB, DOCX and PDF: their text, what they say about themselves, and files that are damaged or hostile."""

from __future__ import annotations

import gzip
import io
import zipfile
from datetime import datetime
from pathlib import Path

import docx
import pypdf
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text import read as reading
from ensue.text.document import Document
from ensue.text.find import FoundFile
from ensue.text.office import docx as docx_reading
from ensue.text.office import epub as epub_reading
from ensue.text.office.archive import parse_page
from ensue.text.office.blocks import blocks_of
from ensue.text.read import read_found_file
from ensue.text.skips import SkipReport

CONTAINER = """<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
PACKAGE = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>红楼梦</dc:title><dc:creator>曹雪芹</dc:creator>
<dc:language>zh</dc:language><dc:date>1791</dc:date></metadata>
<manifest><item id="b" href="two%20b.xhtml" media-type="application/xhtml+xml"/>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="a" href="text/one.xhtml" media-type="application/xhtml+xml"/>
<item id="gone" href="gone.xhtml" media-type="application/xhtml+xml"/>
<item id="css" href="style.css" media-type="text/css"/></manifest>
<spine><itemref idref="nav"/><itemref idref="a"/><itemref idref="b"/><itemref idref="css"/><itemref idref="gone"/>
<itemref idref="a"/></spine></package>"""
ONE = """<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>not text</title>
</head><body><h1>第一回</h1><p>此开卷第一回也。<i>作者</i>自云：<br/>因曾历过</p><script>no</script></body></html>"""
TWO = "<html><body><p>Not well formed<p>but &nbsp; <b>read</b></body>"


def epub(members: dict[str, str] | None = None, **changes: str) -> bytes:
    files = members or {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": PACKAGE,
        "OEBPS/text/one.xhtml": ONE,
        "OEBPS/two b.xhtml": TWO,
        "OEBPS/nav.xhtml": "<html><body><p>Contents</p></body></html>",
        "OEBPS/style.css": "p { color: red }",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**files, **changes}.items():
            archive.writestr(name, text)
    return out.getvalue()


def word() -> bytes:
    document = docx.Document()
    document.core_properties.title = "A title"
    document.core_properties.author = "An author"
    document.core_properties.created = datetime(2016, 3, 4, 5, 6, 7)
    document.add_heading("Heading 一", level=1)
    document.add_paragraph("First paragraph,").add_run(" bold part.").bold = True
    table = document.add_table(rows=2, cols=2)
    for row in range(2):
        for column in range(2):
            table.cell(row, column).text = f"cell {row}{column}"
    document.add_paragraph("")
    document.add_paragraph("After the table.")
    document.sections[0].header.paragraphs[0].text = "Running header"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def pdf(pages: list[str], password: str = "") -> bytes:
    writer = pypdf.PdfWriter()
    font = pypdf.generic.DictionaryObject()
    for key, value in (("/Type", "/Font"), ("/Subtype", "/Type1"), ("/BaseFont", "/Helvetica")):
        font[pypdf.generic.NameObject(key)] = pypdf.generic.NameObject(value)
    for text in pages:
        page = writer.add_blank_page(300, 300)
        fonts = pypdf.generic.DictionaryObject({pypdf.generic.NameObject("/F1"): writer._add_object(font)})
        page[pypdf.generic.NameObject("/Resources")] = pypdf.generic.DictionaryObject(
            {pypdf.generic.NameObject("/Font"): fonts}
        )
        stream = pypdf.generic.DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        page[pypdf.generic.NameObject("/Contents")] = writer._add_object(stream.flate_encode())
    writer.add_metadata({"/Title": "A PDF", "/Author": "An author", "/CreationDate": "D:20160304050607Z"})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def read(path: Path, data: bytes) -> tuple[list[Document], dict[str, int]]:
    path.write_bytes(data)
    skipped = SkipReport()
    told: list[int] = []
    documents = list(read_found_file(FoundFile(path, path.name), skipped=skipped, on_bytes=told.append))
    assert sum(told) == len(data)
    return documents, skipped.reasons()


BOOK = "第一回\n\n此开卷第一回也。作者自云：\n因曾历过\n\nNot well formed\n\nbut \xa0 read\n\n"
WORD = "Heading 一\n\nFirst paragraph, bold part.\n\ncell 00\tcell 01\ncell 10\tcell 11\n\nAfter the table.\n\n"
BOOK_META = {"title": "红楼梦", "author": "曹雪芹", "language": "zh", "date": "1791"}
WORD_META = {"title": "A title", "author": "An author", "date": "2016-03-04T05:06:07+00:00"}
PDF_META = {"title": "A PDF", "author": "An author", "date": "2016-03-04T05:06:07+00:00"}


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_what_they_hold(tmp_path: Path, packing: str) -> None:
    for name, data, text, meta in (
        ("x.epub", epub(), BOOK, BOOK_META),
        ("x.DOCX", word(), WORD, WORD_META),
        ("x.pdf", pdf(["Page one.", "", "Page three."]), "Page one.\n\nPage three.\n\n", PDF_META),
    ):
        packed = gzip.compress(data) if packing == ".gz" else zstandard.compress(data) if packing else data
        documents, skipped = read(tmp_path / (name + packing), packed)
        assert skipped == {}
        [document] = documents
        assert (document.text, document.source) == (text, name + packing)
        assert {key: value.replace("Z", "+00:00") for key, value in document.meta.items()} == meta


def test_a_long_book_is_cut_like_any_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "DOCUMENT_CHARACTERS", 30)
    documents, _ = read(tmp_path / "x.epub", epub())
    assert "".join(document.text for document in documents) == BOOK
    assert [document.source for document in documents] == [f"x.epub#{part}" for part in range(1, len(documents) + 1)]
    assert documents[1].meta == {**BOOK_META, "part": "2"}


def test_files_that_are_something_else(tmp_path: Path) -> None:
    other = epub({"a.txt": "nothing of the kind"})
    assert read(tmp_path / "x.epub", other) == ([], {"not an EPUB book": 1})
    assert read(tmp_path / "x.docx", other) == ([], {"not a Word file": 1})
    for ending in ("epub", "docx", "pdf"):
        for data in (b"plain text", b"PK\x03\x04 and no more", b"%PDF-1.7\n"):
            documents, skipped = read(tmp_path / f"x.{ending}", data)
            assert (documents, list(skipped)) == ([], ["the file is damaged"])
        assert read(tmp_path / f"x.{ending}", b"") == ([], {"empty": 1})
    assert read(tmp_path / "x.epub", epub(**{"OEBPS/book.opf": "<package"})) == ([], {"the file is damaged": 1})
    assert read(tmp_path / "x.epub", epub(**{"META-INF/container.xml": "<container/>"}))[1] == {"not an EPUB book": 1}
    assert read(tmp_path / "x.pdf", pdf(["", ""])) == ([], {"no text in the PDF": 1})
    assert read(tmp_path / "x.pdf", pdf(["Secret"], password="a")) == ([], {"the file is encrypted": 1})


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (epub_reading, docx_reading, reading):
        monkeypatch.setattr(module, "UNPACKED_BYTES", 1 << 20)
    large = " " * (2 << 20)
    assert read(tmp_path / "x.epub", epub(**{"OEBPS/large.css": large})) == ([], {"it unpacks to too much": 1})
    assert read(tmp_path / "x.docx", epub(**{"word/document.xml": large})) == ([], {"it unpacks to too much": 1})
    for ending in ("epub", "docx", "pdf"):
        bomb = gzip.compress(large.encode())
        assert read(tmp_path / f"x.{ending}.gz", bomb) == ([], {"it unpacks to too much": 1})
    # A member that unpacks to more than it claims is not read beyond its claim.
    lying = bytearray(epub(**{"OEBPS/text/one.xhtml": "<p>" + "a" * 500_000 + "</p>"}))
    for at in range(len(lying) - 4):
        if lying[at : at + 4] == (500_007).to_bytes(4, "little"):
            lying[at : at + 4] = (100).to_bytes(4, "little")
    documents, skipped = read(tmp_path / "x.epub", bytes(lying))
    assert (documents, list(skipped)) == ([], ["the file is damaged"])


def test_entities_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    attack = f"""<!DOCTYPE html [<!ENTITY x SYSTEM "file://{tmp_path}/secret.txt"><!ENTITY a "aaaaaaaaaa">
    <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>
    <html><body><p>before &x; &c; after</p></body></html>"""
    documents, _ = read(tmp_path / "x.epub", epub(**{"OEBPS/text/one.xhtml": attack}))
    assert "secret" not in documents[0].text
    assert len(documents[0].text) < 1000
    assert "before" in documents[0].text


@settings(max_examples=60)
@given(st.data())
def test_damage_anywhere_is_a_skip_at_worst(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    ending = data.draw(st.sampled_from(["epub", "docx", "pdf"]))
    content = bytearray(SOUND[ending])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
    documents, skipped = read(tmp_path_factory.mktemp("office") / f"x.{ending}", bytes(content))
    assert documents or skipped
    for document in documents:
        document.text.encode()


SOUND = {"epub": epub(), "docx": word(), "pdf": pdf(["Page one.", "Page two."])}


def test_blocks_as_a_browser_shows_them() -> None:
    page = """<html><body> text <div>in a <b>block</b>
      <p>one</p>between<ul><li>a</li><li>b <ul><li>c</li></ul></li></ul></div><!-- no --> tail
      <ruby>漢<rt>かん</rt>字<rt>じ</rt></ruby></body></html>"""
    assert list(blocks_of(parse_page(page.encode()))) == [
        "text",
        "in a block",
        "one",
        "between",
        "a",
        "b",
        "c",
        "tail 漢字",
    ]
    deep = parse_page(("<div>" * 200 + "x" + "</div>" * 200).encode())
    assert list(blocks_of(deep)) == ["x"]
