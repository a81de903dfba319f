"""The gpt3 recipe, web pages to token shards, beside datatrove: python -m benchmarks.curation WEB REFERENCE --peer PY

WEB is a folder of .html.gz pages, of which a WARC file is made; REFERENCE is JSON lines of good text. PY is a Python
that has datatrove (pip install datatrove trafilatura py3langid scikit-learn warcio faust-cchardet python-magic spacy).
Both use as many workers and cores, and take turns; start-up and training of the classifier count, and so does the time
that processes wait for each other. Processor seconds are told beside the clock's, which mean little on a busy machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import io
import json
import os
import resource
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
PR_SET_CHILD_SUBREAPER = 36
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
    """Of both; the pages are in as many archives, since neither reads one archive with two workers."""
    cores: int | None = None
    """Keep both to so many cores; as many as workers unless said, and 0 for all there are."""
    save: bool = True


@dataclass(frozen=True)
class Room:
    """What a run is given: its workers and the cores it is kept to."""

    workers: int
    cores: frozenset[int]


def write_warcs(pages: list[Path], copies: int, count: int, folder: Path) -> None:
    """The pages, so many copies of each, in turn in one of `count` compressed WARC files."""
    records = list(product(range(copies), pages))
    for number in range(count):
        write_warc(records[number::count], copies, folder / f"pages-{number}.warc.gz")


def write_warc(records: list[tuple[int, Path]], copies: int, target: Path) -> None:
    """These copies of pages as one compressed WARC file."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    with target.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for copy, page in records:
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


def timed(command: list[str], room: Room) -> tuple[dict[str, float], str]:
    """Run a command on some cores: its seconds by the clock and of processors, of all its processes, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Bytecode is kept, as it is where a program is installed.
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        preexec_fn=lambda: os.sched_setaffinity(0, room.cores),
    )
    seconds = time.perf_counter() - begun
    with contextlib.suppress(ChildProcessError):  # those that the command left behind are ours
        while True:
            os.waitpid(-1, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = sum(getattr(after, kind) - getattr(before, kind) for kind in ("ru_utime", "ru_stime"))
    return {"seconds": seconds, "processor_seconds": used}, done.stdout


def adopt_orphans() -> None:
    """Have processes whose parents end become children of this one, so that their time is counted (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def ensue_run(work: Path, out: Path, room: Room) -> dict[str, Any]:
    """One run of the command line, in a process of its own."""
    command = [
        *(sys.executable, "-m", "ensue.cli", "curate", str(work / "warc"), "--recipe", "gpt3"),
        *("--reference", str(work / "reference.jsonl"), "--tokenizer", str(work / "tokenizer"), "--alpha", str(ALPHA)),
        *("--workers", str(room.workers), "--out", str(out)),
    ]
    measured, _ = timed(command, room)
    times = json.loads((out / "times.json").read_text())
    steps = {step: value for one in times for step, value in one.items()}
    summary = json.loads((out / "corpus.json").read_text())
    return {**measured, "steps": steps, "documents": summary["documents"]}


def peer_run(python: Path, work: Path, out: Path, room: Room) -> dict[str, Any]:
    """One run of the datatrove pipeline."""
    files = [work / "warc", out, work / "tokenizer" / "tokenizer.json", work / "reference.jsonl"]
    command = [*map(str, (python, PEER, *files)), str(ALPHA), str(room.workers)]
    measured, output = timed(command, room)
    return {**measured, **json.loads(output.splitlines()[-1])["stages"]}


def main() -> None:
    options = tyro.cli(Options)
    adopt_orphans()
    all_cores = sorted(os.sched_getaffinity(0))
    cores = all_cores[: options.workers if options.cores is None else options.cores or None]
    room = Room(options.workers, frozenset(cores))
    pages = sorted(options.web.rglob("*.html.gz"))
    readings: dict[str, list[dict[str, Any]]] = {"ensue": [], "datatrove": []}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "warc").mkdir()
        write_warcs(pages, options.copies, options.workers, work / "warc")
        write_reference(options.reference, work / "reference.jsonl")
        write_tokenizer(work / "reference.jsonl", work / "tokenizer")
        for turn in range(options.rounds):
            readings["ensue"].append(ensue_run(work, work / "ensue", room))
            shutil.rmtree(work / "ensue")
            if options.peer is not None:
                readings["datatrove"].append(peer_run(options.peer, work, work / "peer", room))
                shutil.rmtree(work / "peer")
            print({name: round(found[turn]["seconds"], 1) for name, found in readings.items() if found}, flush=True)
    seconds, processor = (
        {name: median([one[kind] for one in found]) for name, found in readings.items() if found}
        for kind in ("seconds", "processor_seconds")
    )
    extraction = median([one["steps"]["extract"] / one["seconds"] for one in readings["ensue"]])
    count = len(pages) * options.copies
    rows: list[tuple[Any, ...]] = [("", "seconds", "pages/s", "processor seconds", "pages per processor second")]
    rows += [
        (name, f"{seconds[name]:.1f}", f"{count / seconds[name]:.1f}", f"{used:.1f}", f"{count / used:.1f}")
        for name, used in processor.items()
    ]
    print_table(rows)
    print(f"extraction is {100 * extraction:.0f}% of Ensue's time")
    if options.save:
        results = {
            "machine": machine("torch", "trafilatura", "numba", "scikit-learn"),
            "load_average": round(os.getloadavg()[0], 2),
            "pages": count,
            "workers": options.workers,
            "cores": len(cores),
            "seconds": seconds,
            "processor_seconds": processor,
            "extraction_share": extraction,
            "readings": readings,
        }
        name = "curation" + "_copies" * (options.copies > 1) + f"_{options.workers}_workers" * (options.workers > 1)
        print(f"written to {write_results(name, results)}")


if __name__ == "__main__":
    main()
