"""`ensue curate` from the command line: raw pages and files in, a corpus that trains out, and every fate told."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ensue.text.corpus import read_corpus

WORDS = [
    f"{first}{last}" for first in ("sun", "sea", "wind", "boat", "tide", "gull") for last in ("s", "ed", "ing", "y")
]


def prose(seed: int, sentences: int = 30) -> str:
    chance = random.Random(seed)
    return " ".join(
        f"The {chance.choice(WORDS)} {' '.join(chance.choices(WORDS, k=9))} in the morning." for _ in range(sentences)
    )


def page(text: str) -> bytes:
    paragraphs = "".join(f"<p>{sentence}.</p>" for sentence in text.split(".") if sentence.strip())
    menu = "<nav><ul><li><a href='/'>Home</a></li><li><a href='/about'>About us</a></li></ul></nav>"
    return f"<html><head><title>A page</title></head><body>{menu}<article>{paragraphs}</article></body></html>".encode()


def run(*arguments: str | Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ensue.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == expect, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A web archive, a page, text twice, nearly the same text, text in Latin-1, and what cannot be read."""
    pytest.importorskip("trafilatura")
    warcio = pytest.importorskip("warcio.warcwriter")
    from warcio.statusandheaders import StatusAndHeaders

    folder = tmp_path_factory.mktemp("material")
    with (folder / "pages.warc.gz").open("wb") as file:
        writer = warcio.WARCWriter(file, gzip=True)
        for number in range(8):
            headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.1")
            record = writer.create_warc_record(
                f"http://site.example/{number}",
                "response",
                payload=io.BytesIO(page(prose(number))),
                http_headers=headers,
            )
            writer.write_record(record)
    (folder / "page.html").write_bytes(page(prose(100)))
    (folder / "one.txt").write_text(prose(200), encoding="utf-8")
    (folder / "again.txt").write_text(prose(200), encoding="utf-8")
    (folder / "nearly.txt").write_text(prose(200).replace("morning", "evening", 1), encoding="utf-8")
    (folder / "latin.txt").write_bytes(("Vögel über dem Fluß. " * 40).encode("latin-1"))
    (folder / "noise.txt").write_bytes(bytes(range(256)) * 20)
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps({"text": prose(300)}).encode() * 50)[:-20])
    return folder


@pytest.fixture(scope="module")
def corpus(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpora") / "mine"
    run("curate", f"mine={material}", "--out", out, "--workers", "2")
    return out


def test_what_is_in_the_corpus(corpus: Path) -> None:
    texts = [document.text for document in read_corpus(corpus / "documents")]
    assert len(texts) == 11
    assert sum("The sun" in text or "The sea" in text for text in texts) >= 8
    assert any("Vögel über dem Fluß" in text for text in texts)
    assert not any("About us" in text or "<p>" in text for text in texts)
    summary = json.loads((corpus / "corpus.json").read_text())
    assert sum(summary["skipped"].values()) == 2
    named = "".join(path.read_text() for path in (corpus / "skipped").glob("*.jsonl"))
    assert "noise.txt" in named
    assert "cut.jsonl.gz" in named


def test_why(corpus: Path, material: Path) -> None:
    name = material.name
    kept = json.loads(run("corpus", "why", f"{name}/again.txt", "--corpus", corpus, "--json").stdout)
    gone = json.loads(run("corpus", "why", f"{name}/one.txt", "--corpus", corpus, "--json").stdout)
    near = json.loads(run("corpus", "why", f"{name}/nearly.txt", "--corpus", corpus, "--json").stdout)
    assert gone["duplicate_of"] == kept["id"]
    assert "the same text" in gone["outcome"]
    assert near["duplicate_of"] == kept["id"]
    assert near["passes"][-1][2]["jaccard"] > 0.9
    assert kept["outcome"] == "in the corpus"
    assert kept["places"]
    assert "knows no document 'zzzzzz'" in run("corpus", "why", "zzzzzz", "--corpus", corpus, expect=2).stderr


def test_the_corpus_trains_and_the_run_is_known_to_the_story(corpus: Path, tmp_path: Path) -> None:
    small = (
        "--layers",
        "1",
        "--width",
        "32",
        "--heads",
        "1",
        "--context",
        "32",
        "--batch.start",
        "4",
        "--batch.end",
        "4",
    )
    run("train", corpus, "--run", tmp_path / "run", "--recipe", "modern", "--steps", "6", *small)
    document = next(iter(read_corpus(corpus / "documents")))
    story = json.loads(
        run("corpus", "why", document.id, "--corpus", corpus, "--run", tmp_path / "run", "--json").stdout
    )
    told = [
        json.loads(run("why", tmp_path / "run", "--step", str(step), "--json").stdout)["documents"]
        for step in range(1, 7)
    ]
    expected = [step for step, found in enumerate(told, start=1) if document.id in {one["id"] for one in found}]
    assert story["steps"] == expected


def test_a_second_time(corpus: Path, material: Path) -> None:
    again = run("curate", f"mine={material}", "--out", corpus, expect=2)
    assert "choose a new name" in again.stderr
    other = run("curate", f"mine={material}", "--out", corpus, "--personal", expect=2)
    assert "was begun with other steps" in other.stderr


def test_token_shards_that_are_missing_are_added(corpus: Path, material: Path) -> None:
    before = (corpus / "train" / "tokens.bin").read_bytes()
    (corpus / "data.json").unlink()
    run("curate", f"mine={material}", "--out", corpus, "--workers", "1")
    assert (corpus / "train" / "tokens.bin").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere/", "--out", "OUT"), "nowhere does not exist"),
        (("MATERIAL", "--out", "OUT", "--recipe", "gpt3"), "--reference"),
        (("MATERIAL", "--out", "OUT", "--recipe", "webtext"), "--links"),
        (("MATERIAL", "--out", "OUT", "--max-memory", "plenty"), "--max-memory 2G"),
        (("MATERIAL", "--out", "OUT", "--max-memory", "300M"), "give 1G or more"),
        (("MATERIAL", "--out", "OUT", "--weights", "web=1"), "there is no collection 'web'"),
        (("MATERIAL", "--out", "OUT", "--outt", "x"), "there is no option --outt; did you mean '--out'?"),
        (("--out", "OUT"), "say what to curate"),
    ],
)
def test_mistakes(material: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    replaced = [{"OUT": str(tmp_path / "out"), "MATERIAL": str(material)}.get(word, word) for word in arguments]
    assert message in run("curate", *replaced, expect=2).stderr
    assert not (tmp_path / "out").exists()


def test_memory_stays_under_its_limit(tmp_path: Path) -> None:
    """The resident memory of all processes together, while 60 MB go through the recipe `own`."""
    chance = random.Random(5)
    (tmp_path / "texts").mkdir()
    for number in range(4):
        with (tmp_path / "texts" / f"{number}.jsonl").open("w", encoding="utf-8") as file:
            for _ in range(7000):
                file.write(json.dumps({"text": " ".join(chance.choices(WORDS, k=350))}) + "\n")
    command = [*(sys.executable, "-m", "ensue.cli", "curate", tmp_path / "texts", "--out", tmp_path / "out")]
    process = subprocess.Popen([*map(str, command), "--no-tokens", "--max-memory", "1500M"], stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(_resident, _family(process.pid))))
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    assert process.returncode == 0
    assert 200 << 20 < peak < 1500 << 20, f"{peak >> 20} MiB"


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(below for child in children for below in _family(int(child)))]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
