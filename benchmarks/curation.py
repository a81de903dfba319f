"""The gpt3 recipe, web pages to token shards, beside datatrove: python -m benchmarks.curation WEB REFERENCE --peer PY

WEB is a folder of .html.gz pages, of which a WARC file is made; REFERENCE is JSON lines of good text. PY is a Python
that has datatrove (pip install datatrove trafilatura py3langid scikit-learn warcio faust-cchardet python-magic spacy).
Both use one process and take turns; start-up, compiling and training of the classifier count.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import Positional

from benchmarks.measure import machine, median, print_table, write_results

PEER = Path(__file__).parent / "curation_peer.py"
VOCAB = 4096
ALPHA = 1
"""Less than GPT-3's 9, which would leave next to nothing of so few pages for the steps that follow."""


@dataclass(frozen=True)
class Options:
    """The gpt3 recipe beside datatrove."""

    web: Positional[Path]
    reference: Positional[Path]
    peer: Path | None = None
    """A Python with datatrove; without one only Ensue is measured."""
    copies: int = 1
    """Take each page so often, with a paragraph of its own in each copy, to see what fixed costs come to."""
    rounds: int = 3
    workers: int = 1
    save: bool = True


def write_warc(pages: list[Path], copies: int, target: Path) -> None:
    """The pages, so many copies of each, as one compressed WARC file."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    with target.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for copy, page in product(range(copies), pages):
            headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
            html = gzip.decompress(page.read_bytes())
            own = f"<p>Copy {copy} of {page.name} says so in a paragraph.</p></body>".encode()
            payload = io.BytesIO(html.replace(b"</body>", own, 1) if copies > 1 else html)
            url = f"http://pages.example/{page.parent.name}/{copy}/{page.name}"
            writer.write_record(writer.create_warc_record(url, "response", payload=payload, http_headers=headers))


def write_reference(source: Path, target: Path) -> None:
    """The reference as plain JSON lines, which the peer reads."""
    opener = gzip.open if source.suffix == ".gz" else open
    with opener(source, "rt", encoding="utf-8") as rows, target.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({"text": json.loads(row)["text"]}) + "\n")


def write_tokenizer(reference: Path, folder: Path) -> None:
    """A tokenizer that both use: Ensue's folder, and its tokenizer.json."""
    from ensue.tokens.byte_level import train_byte_level

    texts = (json.loads(line)["text"] for line in reference.open(encoding="utf-8"))
    train_byte_level(texts, vocab_size=VOCAB).save(folder)


def ensue_run(work: Path, out: Path, workers: int) -> dict[str, Any]:
    """One run of the command line, in a process of its own."""
    command = [
        *(sys.executable, "-m", "ensue.cli", "curate", str(work / "warc"), "--recipe", "gpt3"),
        *("--reference", str(work / "reference.jsonl"), "--tokenizer", str(work / "tokenizer"), "--alpha", str(ALPHA)),
        *("--workers", str(workers), "--out", str(out)),
    ]
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - begun
    times = json.loads((out / "times.json").read_text())
    steps = {step: value for one in times for step, value in one.items()}
    summary = json.loads((out / "corpus.json").read_text())
    return {"seconds": seconds, "steps": steps, "documents": summary["documents"]}


def peer_run(python: Path, work: Path, out: Path) -> dict[str, Any]:
    """One run of the datatrove pipeline."""
    command = [python, PEER, work / "warc", out, work / "tokenizer" / "tokenizer.json", work / "reference.jsonl"]
    command.append(str(ALPHA))
    begun = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"seconds": time.perf_counter() - begun, **json.loads(done.stdout.splitlines()[-1])["stages"]}


def main() -> None:
    options = tyro.cli(Options)
    pages = sorted(options.web.rglob("*.html.gz"))
    readings: dict[str, list[dict[str, Any]]] = {"ensue": [], "datatrove": []}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "warc").mkdir()
        write_warc(pages, options.copies, work / "warc" / "pages.warc.gz")
        write_reference(options.reference, work / "reference.jsonl")
        write_tokenizer(work / "reference.jsonl", work / "tokenizer")
        for turn in range(options.rounds):
            readings["ensue"].append(ensue_run(work, work / "ensue", options.workers))
            shutil.rmtree(work / "ensue")
            if options.peer is not None:
                readings["datatrove"].append(peer_run(options.peer, work, work / "peer"))
                shutil.rmtree(work / "peer")
            print({name: round(found[turn]["seconds"], 1) for name, found in readings.items() if found}, flush=True)
    seconds = {name: median([one["seconds"] for one in found]) for name, found in readings.items() if found}
    extraction = median([one["steps"]["extract"] / one["seconds"] for one in readings["ensue"]])
    rows: list[tuple[Any, ...]] = [("", "seconds", "pages/s")]
    rows += [(name, f"{value:.1f}", f"{len(pages) * options.copies / value:.1f}") for name, value in seconds.items()]
    print_table(rows)
    print(f"extraction is {100 * extraction:.0f}% of Ensue's time")
    if options.save:
        results = {
            "machine": machine("torch", "trafilatura", "numba", "scikit-learn"),
            "pages": len(pages) * options.copies,
            "workers": options.workers,
            "seconds": seconds,
            "extraction_share": extraction,
            "readings": readings,
        }
        print(f"written to {write_results('curation' if options.copies == 1 else 'curation_copies', results)}")


if __name__ == "__main__":
    main()
