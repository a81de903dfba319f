"""A large file that is read piece by piece: every line and record once, wherever it is cut and whatever is damaged."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from ensue.text.curation import units
from ensue.text.curation.curate import curate
from ensue.text.curation.local import LocalEngine
from ensue.text.curation.units import find_units, read_unit
from ensue.text.find import FoundFile
from ensue.text.held_out import file_of
from ensue.text.read import read_found_file
from ensue.text.skips import SkipReport
from ensue.text.streams import read_line_stretch

PAGE = "<html><body><p>Page {}: 你好，世界, größer.</p></body></html>"


def archive(pages: int, chance: random.Random) -> bytes:
    """Web pages, some of which pack badly, one gzip member each."""
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True)
    for number in range(pages):
        body = PAGE.format(number) + "".join(chance.choices("abcdefgh <>", k=chance.choice([0, 10, 3000])))
        headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
        record = writer.create_warc_record(
            f"http://e.org/{number}", "response", payload=io.BytesIO(body.encode()), http_headers=headers
        )
        writer.write_record(record)
    return out.getvalue()


def texts_of(path: Path, cuts: Sequence[int]) -> tuple[list[str], int]:
    """The texts of a file's pieces, one after another, and how many records could not be read."""
    texts: list[str] = []
    skipped = SkipReport()
    sources: list[str] = []
    for begin, end in pairwise(cuts):
        for document in read_found_file(FoundFile(path, path.name, begin, end), skipped=skipped):
            texts.append(document.text)
            sources.append(document.source)
    assert len(set(sources)) == len(sources)
    assert {file_of(source) for source in sources} <= {path.name}
    return texts, skipped.count


def read_whole(path: Path) -> tuple[list[str], int]:
    skipped = SkipReport()
    return [each.text for each in read_found_file(FoundFile(path, path.name), skipped=skipped)], skipped.count


@settings(max_examples=200)
@given(st.binary(max_size=60).map(lambda data: data.replace(b"a", b"\n")), st.lists(st.integers(0, 60), max_size=4))
def test_stretches_of_lines_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, places: list[int]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "x"
    path.write_bytes(data)
    lines = data.split(b"\n")
    begins = [sum(len(line) + 1 for line in lines[:index]) for index in range(len(lines))]
    cuts = sorted({0, *(place for place in places if place <= len(data)), len(data)})
    for begin, end in pairwise(cuts):
        inside = [line + b"\n" for line, at in zip(lines, begins, strict=True) if begin <= at < end]
        expected = b"".join(inside)
        if begins[-1] < end and inside:
            expected = expected[:-1]  # the last line has no end
        assert b"".join(read_line_stretch(path, begin, end)) == expected


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_json_lines(tmp_path: Path, count: int) -> None:
    chance = random.Random(count)
    rows = [
        "",
        "no JSON",
        *(json.dumps({"text": f"{number} " + "é" * chance.choice([0, 5, 4000])}) for number in range(60)),
    ]
    chance.shuffle(rows)
    path = tmp_path / "x.jsonl"
    path.write_bytes(codecs.BOM_UTF8 + "\r\n".join(rows).encode())
    size = path.stat().st_size
    whole = read_whole(path)
    assert len(whole[0]) == 60
    assert texts_of(path, [size * number // count for number in range(count + 1)]) == whole


@settings(max_examples=40)
@given(st.integers(0, 1 << 30), st.integers(1, 9), st.integers(0, 3))
def test_archives_that_are_damaged_too(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, damages: int
) -> None:
    chance = random.Random(seed)
    content = bytearray(archive(12, chance))
    for _ in range(damages):
        at = chance.randrange(len(content))
        content[at : at + chance.randrange(30)] = chance.randbytes(chance.randrange(30))
    path = tmp_path_factory.mktemp("pieces") / "x.warc.gz"
    path.write_bytes(content)
    starts = [at for at in range(len(content)) if content.startswith(b"\x1f\x8b\x08", at)]
    places = [chance.choice([chance.randrange(len(content)), chance.choice(starts)]) for _ in range(count)]
    assert texts_of(path, sorted({0, *places, len(content)})) == read_whole(path)


def test_an_archive_that_is_one_member_is_the_first_piece(tmp_path: Path) -> None:
    path = tmp_path / "x.warc.gz"
    path.write_bytes(gzip.compress(gzip.decompress(archive(20, random.Random(0)))))
    size = path.stat().st_size
    assert texts_of(path, [0, size // 3, size]) == read_whole(path)


def test_any_number_of_workers_reads_the_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "PIECE_BYTES", 20_000)
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.warc.gz").write_bytes(archive(200, random.Random(1)))
    rows = [json.dumps({"text": f"Row {number}. " * 20}) for number in range(300)]
    (texts / "b.jsonl").write_text("\n".join(rows) + "\n")
    (texts / "c.jsonl").write_bytes("\n".join(rows).encode("utf-16"))
    found = find_units({"own": [str(texts)]}, skipped=SkipReport())
    assert sum(file.name.endswith("a.warc.gz") for unit in found for file in unit.files) > 2
    assert [file.begin for unit in found for file in unit.files if file.name.endswith("c.jsonl")] == [0]
    documents = [document for unit in found for document in read_unit(unit, skipped=SkipReport())]
    assert len(documents) == 800
    made = []
    for workers in (1, 3):
        out = tmp_path / f"corpus-{workers}"
        assert curate({"own": [str(texts)]}, [], str(out), engine=LocalEngine(workers, 16 << 30)).documents == 800
        made.append({path.name: path.read_bytes() for path in sorted((out / "documents").iterdir())})
    assert made[0] == made[1]
