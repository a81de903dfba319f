"""Pages and texts in the encodings of the world come out right, declared truly, falsely or not at all."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.document import Document
from ensue.text.encodings import decode_page, encoding_of_text, family_of
from ensue.text.read import read_documents
from ensue.text.skips import SkipReport

# A language of the Universal Declaration, and the encodings that its pages are found in.
ENCODINGS = {
    "zh": ("gb18030", "gb2312", "gbk", "big5"),
    "ja": ("shift_jis", "euc_jp", "iso2022_jp"),
    "ko": ("euc_kr", "cp949"),
    "ru": ("cp1251", "koi8_r"),
    "uk": ("cp1251", "koi8_u"),
    "el": ("cp1253", "iso8859_7"),
    "he": ("cp1255",),
    "ar": ("cp1256",),
    "tr": ("cp1254",),
    "vi": ("cp1258",),
    "pl": ("cp1250", "iso8859_2"),
    "cs": ("cp1250", "iso8859_2"),
    "hu": ("cp1250", "iso8859_2"),
    "de": ("cp1252",),
    "fr": ("cp1252", "latin_1"),
    "es": ("cp1252",),
    "pt": ("cp1252",),
    "sv": ("cp1252",),
}
CASES = [(language, codec) for language, codecs in ENCODINGS.items() for codec in codecs]


@pytest.fixture(scope="module")
def declaration(shared_data: Path) -> dict[str, str]:
    with gzip.open(shared_data / "langid" / "udhr.jsonl.gz", "rt", encoding="utf-8") as file:
        return {row["lang"]: row["text"] for row in map(json.loads, file)}


def writable(text: str, codec: str) -> str:
    """The text without what the encoding lacks."""
    return text.encode(codec, "ignore").decode(codec)


def page(text: str, head: str = "") -> str:
    paragraphs = "".join(f'<p class="text">{line}</p>\n' for line in text.split("\n"))
    return f"<html><head>{head}<title>x</title><script>var x = '<p>';</script></head><body>\n{paragraphs}</body></html>"


@pytest.mark.parametrize(("language", "codec"), CASES)
def test_a_page_that_says_so(declaration: dict[str, str], language: str, codec: str) -> None:
    text = writable(declaration[language][:3000], codec)
    html = page(text, f'<meta http-equiv="Content-Type" content="text/html; charset={codec.replace("_", "-")}">')
    assert decode_page(html.encode(codec), declared="")[0] == html  # type: ignore[index]
    assert decode_page(page(text).encode(codec), declared=codec)[0] == page(text)  # type: ignore[index]
    # Servers that say Latin 1 of everything are common, and are not believed against the page's own word.
    assert decode_page(html.encode(codec), declared="iso-8859-1")[0] == html  # type: ignore[index]


@pytest.mark.parametrize(("language", "codec"), CASES)
def test_a_page_that_says_nothing(declaration: dict[str, str], language: str, codec: str) -> None:
    if codec == "big5":
        pytest.skip("simplified characters without those that Big5 lacks are no text; see the poems below")
    html = page(writable(declaration[language][:3000], codec))
    decoded = decode_page(html.encode(codec))
    assert decoded is not None
    assert decoded[0] == html


@pytest.mark.parametrize(
    ("language", "codec"), [case for case in CASES if case[0] not in ("de", "fr", "es", "pt", "sv")]
)
def test_a_page_in_another_script_that_the_server_calls_latin(
    declaration: dict[str, str], language: str, codec: str
) -> None:
    if language in ("tr", "vi", "pl", "cs", "hu") or codec in ("big5", "iso2022_jp"):
        pytest.skip("nothing but a dictionary could tell")
    html = page(writable(declaration[language][:3000], codec))
    assert decode_page(html.encode(codec), declared="ISO-8859-1")[0] == html  # type: ignore[index]


@pytest.mark.parametrize("language", sorted(ENCODINGS))
def test_a_page_in_utf_8_whatever_it_says(declaration: dict[str, str], language: str) -> None:
    html = page(declaration[language][:3000], '<meta charset="windows-1252">')
    for declared in ("", "gb2312", "iso-8859-1", "nonsense", "utf-8"):
        assert decode_page(html.encode(), declared=declared) == (html, "utf-8")
    for codec in ("utf-8-sig", "utf-16", "utf-32"):
        assert decode_page(html.encode(codec), declared="gb2312")[0] == html  # type: ignore[index]


def test_traditional_poems_in_big5(shared_data: Path) -> None:
    with gzip.open(shared_data / "chinese" / "tang_poems_valid.jsonl.gz", "rt", encoding="utf-8") as file:
        poems = "\n".join(json.loads(line)["text"] for line, _ in zip(file, range(40), strict=False))
    for codec in ("big5", "gb18030"):
        html = page(writable(poems, codec))
        assert decode_page(html.encode(codec))[0] == html  # type: ignore[index]
        assert encoding_of_text(writable(poems, codec).encode(codec)) in ("cp950", "big5hkscs", "gb18030")


def test_few_words_that_could_be_either() -> None:
    # The two characters for Unicom in GB 2312 are also UTF-8: what is declared decides.
    assert decode_page("<p>联通</p>".encode("gb2312"), declared="gb2312") == ("<p>联通</p>", "gb18030")
    assert decode_page("<p>联通</p>".encode(), declared="") == ("<p>联通</p>", "utf-8")


def test_wrong_bytes_here_and_there() -> None:
    page = "<p>" + "Für größere Häuser. " * 40 + "</p>"
    damaged = page.encode()[:300] + b"\xff" + page.encode()[300:]
    text, encoding = decode_page(damaged)  # type: ignore[misc]
    assert encoding == "utf-8"
    assert text.replace("\ufffd", "") == page
    cut = ("<p>" + "汉字和假名" * 100).encode("gb18030")[:-1]
    text, encoding = decode_page(cut, declared="gb2312")  # type: ignore[misc]
    assert (text.rstrip("\ufffd"), encoding) == ("<p>" + ("汉字和假名" * 100)[:-1], "gb18030")
    mixed = page.encode() + "<p>Und später in anderer Kodierung.</p>".encode("cp1252")
    text, encoding = decode_page(mixed, declared="utf-8")  # type: ignore[misc]
    assert encoding == "utf-8"
    assert text.startswith(page)


def test_what_larger_encodings_are_declared_as() -> None:
    assert family_of("GB2312") == ("gb18030",)
    assert family_of("x-sjis")[0] == family_of("Shift_JIS")[0] == "cp932"
    assert family_of("latin1") == family_of("us-ascii") == ("cp1252",)
    assert family_of("windows-1251") == ("cp1251",)
    for label in ("", "utf-7", "punycode", "rot13", "base64", "unicode_escape", "idna", "\0", "x" * 1000):
        assert family_of(label) == ()
    for text, label in (
        ("①㈱髙", "shift_jis"),
        ("镕朱", "gb2312"),
        ("“quoted” — €", "iso-8859-1"),
        ("똠방각하", "euc-kr"),
    ):
        data = f"<p>{text}</p>".encode(family_of(label)[0])
        assert decode_page(data, declared=label)[0] == f"<p>{text}</p>"  # type: ignore[index]


@settings(max_examples=200)
@given(st.binary(max_size=300), st.sampled_from(["", "utf-8", "gb2312", "shift_jis", "big5", "koi8-r", "utf-16"]))
def test_any_bytes_give_text_that_can_be_stored_or_nothing(data: bytes, declared: str) -> None:
    decoded = decode_page(data, declared=declared)
    if decoded is not None:
        assert decoded[0].encode().decode() == decoded[0]


def read(folder: Path, detect: bool) -> tuple[list[Document], SkipReport]:
    skipped = SkipReport()
    return list(read_documents([folder], skipped=skipped, detect_encoding=detect)), skipped


@pytest.mark.parametrize(("language", "codec"), CASES)
def test_text_files(tmp_path: Path, declaration: dict[str, str], language: str, codec: str) -> None:
    if codec == "big5":
        pytest.skip("simplified characters without those that Big5 lacks are no text")
    text = writable(declaration[language], codec)
    (tmp_path / "x.txt").write_bytes(text.replace("\n", "\r\n").encode(codec))
    documents, skipped = read(tmp_path, True)
    assert ("".join(document.text for document in documents), skipped.count) == (text, 0)
    documents, skipped = read(tmp_path, False)
    assert codec == "iso2022_jp" or list(skipped.reasons()) == ["not UTF-8 text"]


def test_text_files_in_utf_8_are_read_the_same_either_way(tmp_path: Path, shared_data: Path) -> None:
    book = (shared_data / "books" / "little-women.txt").read_bytes()
    (tmp_path / "a.txt").write_bytes(book + "Schluß…".encode())
    (tmp_path / "b.txt").write_bytes(book.decode().encode("utf-16"))
    (tmp_path / "c.md").write_text("short")
    (tmp_path / "d.txt").write_bytes(b"\xef\xbb\xbfmarked")
    strict, skipped = read(tmp_path, False)
    assert (read(tmp_path, True)[0], skipped.count) == (strict, 0)


def test_a_long_text_file_is_told_from_its_beginning(tmp_path: Path, declaration: dict[str, str]) -> None:
    text = (declaration["ru"] + "\n") * 80
    (tmp_path / "x.txt").write_bytes(text.encode("koi8_r", "ignore"))
    documents, _ = read(tmp_path, True)
    assert len(documents) == len(text) // (1 << 20) + 1
    assert "".join(document.text for document in documents) == text.encode("koi8_r", "ignore").decode("koi8_r")


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    (tmp_path / "stray.txt").write_bytes(b"Mostly plain text. " * 100 + b"\xff" + b" and more. " * 100)
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as file:
        file.write(bytes(range(1, 256)) * 100)
    (tmp_path / "noise.txt").write_bytes(out.getvalue() * 50)
    (tmp_path / "turns.txt").write_bytes("Anfang, völlig richtig. ".encode() * 90_000 + b"\xff\xfe\xfd" * 400_000)
    documents, skipped = read(tmp_path, True)
    sources = {document.source for document in documents}
    assert {f"{tmp_path.name}/stray.txt", f"{tmp_path.name}/turns.txt#1"} <= sources
    assert skipped.reasons() == {"binary, not text": 2, "not UTF-8 text": 1}
