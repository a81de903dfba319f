"""Reading text: what comes out, what is skipped and why, and how much memory it takes."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ensue.text import read as reading
from ensue.text.document import Document
from ensue.text.find import find_files
from ensue.text.read import read_documents, read_plain_text
from ensue.text.skips import SkipReport
from ensue.text.streams import line_chunks, text_chunks


def read_all(*paths: Path) -> tuple[list[Document], SkipReport]:
    """Everything in `paths`, having checked that the bytes told add up to the sizes of the files."""
    skipped = SkipReport()
    told: list[int] = []
    documents = list(read_documents(paths, skipped=skipped, on_bytes=told.append))
    assert sum(told) == sum(path.stat().st_size for path in find_files(paths))
    assert all(step > 0 for step in told)
    return documents, skipped


def packed(data: bytes, ending: str) -> bytes:
    if ending == ".gz":
        return gzip.compress(data)
    return zstandard.compress(data) if ending == ".zst" else data


ROWS = [{"text": "one\r\ntwo", "title": "A", "year": 1868}, {"text": "three", "title": "B", "year": 1869}]


def write_kind(path: Path) -> None:
    kind, packing = path.suffixes[0], "".join(path.suffixes[1:])
    if kind == ".jsonl":
        data = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    elif kind == ".parquet":
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), sink)
        data = sink.getvalue().to_pybytes()
    else:
        data = b"one\r\ntwo"
    path.write_bytes(packed(data, packing))


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize("kind", [".txt", ".md", ".jsonl", ".parquet"])
def test_every_kind_and_packing(tmp_path: Path, kind: str, packing: str) -> None:
    path = tmp_path / "corpus" / f"x{kind}{packing}"
    path.parent.mkdir()
    write_kind(path)
    documents, skipped = read_all(path.parent)
    assert skipped.count == 0
    assert documents[0].text == "one\ntwo"
    if kind in (".txt", ".md"):
        assert [document.source for document in documents] == [f"corpus/{path.name}"]
        return
    assert [document.source for document in documents] == [f"corpus/{path.name}:1", f"corpus/{path.name}:2"]
    assert documents[1].text == "three"
    assert documents[1].meta == {"title": "B", "year": "1869"}


def test_the_real_books_and_poems(shared_data: Path) -> None:
    documents, skipped = read_all(shared_data / "books")
    assert len(documents) > 50
    by_source = {document.source: document for document in documents}
    alice = by_source["books/alices-adventures-in-wonderland.txt"]
    assert alice.text == (shared_data / "books" / "alices-adventures-in-wonderland.txt").read_text(encoding="utf-8")
    assert skipped.reasons().keys() <= {"not a kind that is read"}
    poems, _ = read_all(*sorted((shared_data / "chinese").glob("*.jsonl*"))[:1])
    assert len(poems) > 100
    assert poems[0].source.endswith(":1")


def test_identity_depends_on_name_and_text_only(tmp_path: Path) -> None:
    for parent in ("here", "elsewhere/deep"):
        folder = tmp_path / parent / "books"
        folder.mkdir(parents=True)
        (folder / "b.txt").write_text("bee")
        (folder / "a.txt.gz").write_bytes(gzip.compress(b"ay"))
    here, _ = read_all(tmp_path / "here" / "books")
    there, _ = read_all(tmp_path / "elsewhere" / "deep" / "books")
    assert here == there
    assert [document.source for document in here] == ["books/a.txt.gz", "books/b.txt"]


pieces = st.sampled_from(["\r", "\n", "\r\n", "\n\n", " ", "a", "é", "漢", "🙂", "word ", "\u2028", "\x85", "\x0b"])


@settings(max_examples=150)
@given(st.lists(pieces, max_size=120).map("".join), st.integers(1, 30), st.integers(1, 7))
def test_parts_joined_are_the_text(text: str, limit: int, chunk: int) -> None:
    data = text.encode()
    chunks = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    expected = text.replace("\r\n", "\n")
    assert "".join(text_chunks(chunks)) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "DOCUMENT_CHARACTERS", limit)
        if not expected.strip() and len(expected) <= limit:
            return
        documents = list(read_plain_text(chunks, "x.txt"))
        assert "".join(document.text for document in documents) == expected
        assert all(0 < len(document.text) <= limit for document in documents)
        assert [document.text for document in documents] == [d.text for d in read_plain_text([data], "x.txt")]
        assert len({document.id for document in documents}) == len(documents)


def test_a_long_file_is_cut_between_paragraphs(tmp_path: Path) -> None:
    paragraph = "It was the best of times, it was the worst of times.\n" * 40 + "\n"
    text = paragraph * 1200
    (tmp_path / "long.txt").write_text(text)
    documents, _ = read_all(tmp_path / "long.txt")
    assert len(documents) > 2
    assert "".join(document.text for document in documents) == text
    assert all(document.text.endswith("\n\n") for document in documents)
    assert [document.source for document in documents[:2]] == ["long.txt#1", "long.txt#2"]
    assert documents[1].meta == {"part": "2"}


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.integers(1, 5))
def test_lines_are_those_of_split(lines: list[bytes], chunk: int) -> None:
    data = b"".join(line + b"\n" for line in lines) + b"end"
    chunks = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:3] == b"\xef\xbb\xbf":
        return
    expected = [line if len(line) <= 6 else None for line in data.split(b"\n")]
    assert list(line_chunks(chunks, limit=6)) == expected


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_understood(tmp_path: Path, codec: str) -> None:
    (tmp_path / "x.txt").write_bytes("Ünïcode 漢字\r\n".encode(codec))
    (tmp_path / "x.jsonl").write_bytes('{"text": "漢字"}\r\n{"text": "two"}'.encode(codec))
    documents, skipped = read_all(tmp_path)
    assert {document.text for document in documents} == {"Ünïcode 漢字\n", "漢字", "two"}
    assert skipped.count == 0


def test_bad_files_are_skipped_counted_and_named(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(60_000).hex().encode()
    bad = {
        "latin.txt": "naïve café".encode("latin1"),
        "binary.md": b"some text\0\1\2",
        "cut.txt.gz": gzip.compress(noise)[:-2000],
        "cut.jsonl.zst": zstandard.compress(b'{"no": 1}\n' + noise)[:-200],
        "nonsense.txt.gz": b"this was never compressed",
        "flipped.txt.zst": zstandard.ZstdCompressor(write_checksum=True).compress(noise)[:-1] + b"\0",
        "torn.parquet": b"PAR1 and then nothing",
        "empty.txt": b"",
        "blank.txt": b" \n\n",
        "photo.jpg": b"\xff\xd8\xff",
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.txt").write_text("good")
    record = tmp_path.parent / f"{tmp_path.name}-skipped.jsonl"
    skipped = SkipReport(record)
    documents = list(read_documents([tmp_path], skipped=skipped))
    assert [document.text for document in documents] == ["good"]
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    assert len(rows) == skipped.count
    by_source = {Path(row["source"]).name: row for row in rows}
    assert by_source["latin.txt"]["reason"] == "not UTF-8 text"
    assert "byte 0xef at offset 2" in by_source["latin.txt"]["detail"]
    assert "iconv" in by_source["latin.txt"]["detail"]
    assert by_source["binary.md"]["detail"] == "a zero byte at offset 9"
    for name in ("cut.txt.gz", "flipped.txt.zst"):
        assert by_source[name]["reason"] == "the compressed data is damaged or cut short"
    damaged = "the compressed data is damaged or cut short"
    assert by_source["nonsense.txt.gz"]["reason"] == damaged
    assert by_source["cut.jsonl.zst"]["reason"] == damaged
    assert by_source["torn.parquet"]["reason"] == "the Parquet file is damaged"
    assert by_source["photo.jpg"]["reason"] == "not a kind that is read"
    assert skipped.reasons()["empty"] == 2
    assert set(bad) <= set(by_source)
    assert f"{tmp_path.name}/photo.jpg" in skipped.summary()


def test_a_bad_byte_far_into_a_file_keeps_what_came_before(tmp_path: Path) -> None:
    good = b"All is well in this line of text.\n" * 100_000
    (tmp_path / "far.txt").write_bytes(good + b"\xe9t\xe9")
    documents, skipped = read_all(tmp_path)
    kept = "".join(document.text for document in documents)
    assert len(documents) == 3
    assert good.decode().startswith(kept)
    assert skipped.reasons() == {"not UTF-8 text": 1}
    assert f"byte 0xe9 at offset {len(good):,}" in skipped.summary()
    assert "the 3 documents before it are kept" in skipped.summary()


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le"])
def test_the_offset_of_a_wrong_byte_is_exact(codec: str) -> None:
    mark = b"\xff\xfe" if codec == "utf-16-le" else b"\xef\xbb\xbf"
    good = mark + "漢字🙂".encode(codec)
    wrong = good + (b"\x00\xdc" if codec == "utf-16-le" else b"\xff") + "a".encode(codec)
    for chunk in (1, 2, 3, 5, 100):
        with pytest.raises(reading.Unreadable, match=f"offset {len(good)};"):
            list(text_chunks(wrong[start : start + chunk] for start in range(0, len(wrong), chunk)))
        zero = good + "\0".encode(codec)
        with pytest.raises(reading.Unreadable, match=rf"a zero byte at offset {len(good)}\)"):
            list(text_chunks(zero[start : start + chunk] for start in range(0, len(zero), chunk)))


def test_lines_that_are_no_documents(tmp_path: Path) -> None:
    lines = [
        b'{"text": "fine", "tags": ["a"], "flag": true, "none": null, "long": "' + b"x" * 201 + b'"}',
        b"{not json",
        b"[1, 2]",
        b'{"n": 1}',
        b'{"a": "two", "b": "strings"}',
        b'{"text": "  "}',
        b"",
        b'{"text": "caf\xe9"}',
        b'{"text": "half \\ud83d of it"}',
        b'{"poem": "the only string", "id": 7}',
        b'{"body": "found", "title": "T"}',
        b"[" * 200_000,
    ]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join(lines))
    documents, skipped = read_all(tmp_path / "x.jsonl")
    assert [(d.source, d.text, dict(d.meta)) for d in documents] == [
        ("x.jsonl:1", "fine", {"flag": "true"}),
        ("x.jsonl:10", "the only string", {"id": "7"}),
        ("x.jsonl:11", "found", {"title": "T"}),
    ]
    assert skipped.reasons() == {
        "no field holds a text": 2,
        "the line is not JSON": 2,
        "not a JSON object": 1,
        "the text is empty": 1,
        "the line is not UTF-8 text": 1,
        "the text holds half a character": 1,
    }
    assert skipped.examples("the line is not UTF-8 text") == ["x.jsonl:8"]


def test_parquet_columns(tmp_path: Path) -> None:
    table = pyarrow.table({"only": ["a text", None, ""], "n": [1.5, 2.5, 3.5], "list": [[1], [2], [3]]})
    parquet.write_table(table, tmp_path / "one.parquet")
    parquet.write_table(pyarrow.table({"a": ["x"], "b": ["y"]}), tmp_path / "two.parquet")
    broken = pyarrow.array([b"\xff\xfe", b"fine"]).cast(pyarrow.binary())
    broken_text = pyarrow.Array.from_buffers(pyarrow.string(), 2, broken.buffers())
    parquet.write_table(pyarrow.table({"text": broken_text}), tmp_path / "wrong.parquet")
    documents, skipped = read_all(tmp_path)
    assert [(d.text, dict(d.meta)) for d in documents] == [("a text", {"n": "1.5"}), ("fine", {})]
    assert skipped.count == 4
    assert "its columns are a, b" in skipped.summary()


def test_own_fields_come_first(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "no", "lyrics": "yes"}\n')
    [document] = read_documents([tmp_path], skipped=SkipReport(), fields=("lyrics",))
    assert document.text == "yes"


MEMORY_PROGRAM = """
import resource, sys
from pathlib import Path
from ensue.text.read import read_documents
from ensue.text.skips import SkipReport
import pyarrow
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
characters = sum(len(document.text) for document in read_documents([Path(sys.argv[1])], skipped=SkipReport()))
print(characters, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)
"""


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_file_of_300_mb_takes_little_memory(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"huge.txt{ending}"
    block = b"The quick brown fox jumps over the lazy dog, again and again.\n" * 16_000
    # Gzip members and zstd frames may follow each other, so the file is written in no time.
    path.write_bytes(packed(block, ending) * 305)
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    characters, grown_kb = map(int, ran.stdout.split())
    assert characters == 305 * len(block) > 300e6
    assert grown_kb < 60_000


def test_an_endless_json_line_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl.zst"
    filler = zstandard.compress(b"x" * (1 << 20))
    path.write_bytes(zstandard.compress(b'{"text": "') + filler * 200 + zstandard.compress(b'"}\n{"text": "after"}\n'))
    documents, skipped = read_all(path)
    assert [(document.source, document.text) for document in documents] == [("long.jsonl.zst:2", "after")]
    assert skipped.reasons() == {"the line is too long": 1}
