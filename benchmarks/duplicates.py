"""MinHash beside its peers, and near-duplicates of a million documents: python -m benchmarks.duplicates BOOKS CHINESE

BOOKS is a folder of .txt files, cut into documents of 8,000 characters; CHINESE a .jsonl.gz with a field "text". The
million documents are made up, 50 words each; a tenth are copies of others with one word changed. With --million only
they are measured, with --kernel only the signatures are. Needs datasketch and rensa.
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import interleaved, machine, median, print_table, spread, write_results
from ensue.text.document import Document
from ensue.text.duplicates import shingle_kernels, shingles
from ensue.text.duplicates.near import NearDuplicates
from ensue.text.duplicates.shingles import sketch

PART_DOCUMENTS, PARTS, WORDS = 20_000, 50, 50
COPIES = PART_DOCUMENTS // 10
MEMORY = 1200 << 20
DECIDE = """
import json, sys, time
from pathlib import Path
import numpy as np
from ensue.text.duplicates.near import NearDuplicates
folder, parts, memory = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for name in ("out", "scratch"):
    (folder / name).mkdir()
scans = (dict(np.load(folder / f"{part}.npz")) for part in range(parts))
begun = time.perf_counter()
figures = NearDuplicates().decide(scans, folder / "out", memory=memory, scratch=folder / "scratch")
seconds = time.perf_counter() - begun
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "peak_mb": peak / 1000, **figures}))
"""


def measure_signatures(books: Path, chinese: Path) -> dict[str, Any]:
    """MB/s of text on one core, 112 permutations; the slow ones on a share of the documents, all by turns."""
    english = [
        text[start : start + 8000]
        for path in sorted(books.glob("*.txt"))
        for text in [path.read_text(encoding="utf-8")]
        for start in range(0, len(text), 8000)
    ][:1000]
    with gzip.open(chinese, "rt", encoding="utf-8") as file:
        poems = [json.loads(line)["text"] for line in file][:40_000]
    poems = ["\n".join(poems[start : start + 40]) for start in range(0, len(poems), 40)]
    few = english[:60]
    inside: dict[str, list[float]] = {}
    contenders = {
        "words": (english, lambda: _timed(english, "words", inside)),
        "characters, Chinese": (poems, lambda: _timed(poems, "characters", inside)),
        "characters, English": (english, lambda: _timed(english, "characters", inside)),
        "datasketch": (few, lambda: [_datasketch(text) for text in few]),
        "rensa": (few, lambda: [_rensa(text) for text in few]),
    }
    seconds = interleaved({name: run for name, (_, run) in contenders.items()})
    results: dict[str, Any] = {}
    for name, (texts, _) in contenders.items():
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        rates = [megabytes / second for second in seconds[name]]
        results[name] = {"mb_per_second": median(rates), "spread": spread(rates), "mb": round(megabytes, 2)}
        if values := inside.get(f"{name.split(',')[0]} {texts[0][:20]}"):
            results[name]["kernel_mb_per_second"] = median([megabytes / value for value in values[1:]])
    return results


def _timed(texts: list[str], shingle: Any, inside: dict[str, list[float]]) -> None:
    """Strings to keys and sets; what the compiled kernel took of it, sets included, goes to `inside`."""
    real = shingles._kernels

    class Watched:
        unspaced_letters = staticmethod(shingle_kernels.unspaced_letters)

        @staticmethod
        def sketch(*arguments: Any) -> None:
            begun = time.perf_counter()
            shingle_kernels.sketch(*arguments)
            inside.setdefault(f"{shingle} {texts[0][:20]}", []).append(time.perf_counter() - begun)

    shingles._kernels = lambda: Watched
    try:
        sketch(texts, shingle=shingle)
    finally:
        shingles._kernels = real


def _word_shingles(text: str) -> list[str]:
    words = re.findall(r"[0-9a-z]+", text.lower())
    return [" ".join(words[start : start + 5]) for start in range(len(words) - 4)]


def _datasketch(text: str) -> Any:
    from datasketch import MinHash

    made = MinHash(112)
    made.update_batch([shingle.encode() for shingle in _word_shingles(text)])
    return made


def _rensa(text: str) -> Any:
    from rensa import RMinHash

    made = RMinHash(112, 0)
    made.update(_word_shingles(text))
    return made


def made_up(part: int) -> list[str]:
    """A part of the million documents; the first tenth are copies of the part before."""
    rows = np.random.default_rng(part).integers(0, 50_000, (PART_DOCUMENTS, WORDS))
    if part:
        before = np.random.default_rng(part - 1).integers(0, 50_000, (PART_DOCUMENTS, WORDS))
        rows[:COPIES] = before[COPIES : 2 * COPIES]
        places = np.random.default_rng([part, 1]).integers(0, WORDS, COPIES)
        rows[np.arange(COPIES), places] += 50_000
    vocabulary = np.array([f"{number * 7919 % 99991:x}e" for number in range(100_000)])
    return [" ".join(row) for row in vocabulary[rows].tolist()]


def scan_part(job: tuple[str, int]) -> tuple[float, int, float]:
    """Scan one part into a file; seconds, bytes of text and this process' peak memory in MB."""
    folder, part = job
    documents = [Document(f"{part:03d}-{row:05d}", text, "") for row, text in enumerate(made_up(part))]
    begun = time.perf_counter()
    arrays = NearDuplicates().scan(documents, part << 24)
    np.savez(Path(folder) / f"{part}.npz", **arrays)
    seconds = time.perf_counter() - begun
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return seconds, sum(len(document.text) for document in documents), peak / 1000


def measure_million(parts: int) -> dict[str, Any]:
    """Scan in two processes, decide in one, and look for the planted copies."""
    with tempfile.TemporaryDirectory() as folder:
        scan_part((folder, 0))  # compile once
        begun = time.perf_counter()
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            scans = pool.map(scan_part, [(folder, part) for part in range(parts)], chunksize=1)
        scanning = time.perf_counter() - begun
        command = [sys.executable, "-c", DECIDE, folder, str(parts), str(MEMORY)]
        decided = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        recall = _recall(Path(folder) / "out", parts)
    seconds, sizes, peaks = zip(*scans, strict=True)
    return {
        "documents": parts * PART_DOCUMENTS,
        "megabytes": round(sum(sizes) / 1e6, 1),
        "scan_wall_seconds": round(scanning, 2),
        "scan_mb_per_second_per_core": median(
            [size / 1e6 / second for size, second in zip(sizes, seconds, strict=True)]
        ),
        "scan_peak_mb_per_process": round(max(peaks)),
        "decide": {name: round(value, 2) for name, value in decided.items()},
        "decide_memory_limit_mb": round(MEMORY / 1e6),
        "planted": (parts - 1) * COPIES,
        "recall_on_planted": recall,
        "recall_by_theory": round(_theory(), 4),
    }


def _recall(out: Path, parts: int) -> float:
    step, found = NearDuplicates(), 0
    for part in range(1, parts):
        judge = step.prepare(out, part << 24, (part << 24) + PART_DOCUMENTS)
        for row in range(COPIES):
            facts = judge((part << 24) + row, Document("", "", "")).facts
            found += facts.get("duplicate_of") == f"{part - 1:03d}-{row + COPIES:05d}"
        judge = step.prepare(out, (part - 1) << 24, ((part - 1) << 24) + PART_DOCUMENTS)
        for row in range(COPIES):  # the longer text stays, which may be the copy
            facts = judge(((part - 1) << 24) + row + COPIES, Document("", "", "")).facts
            found += facts.get("duplicate_of") == f"{part:03d}-{row:05d}"
    return round(found / ((parts - 1) * COPIES), 4)


def _theory() -> float:
    """Mean recall of copies with one of 50 words changed, which is in up to 5 of 46 shingles."""
    changed = [min(place, WORDS - 1 - place, 4) + 1 for place in range(WORDS)]
    shingles_of_one = WORDS - 4
    similarity = np.array([(shingles_of_one - count) / (shingles_of_one + count) for count in changed])
    return float((1 - (1 - similarity**8) ** 14).mean())


def main() -> None:
    """Measure, print, write benchmarks/results/duplicates.json."""
    options = [argument for argument in sys.argv[1:] if argument.startswith("--")]
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("--")]
    path = Path(__file__).parent / "results" / "duplicates.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    results["machine"] = machine("numba", "numpy", "datasketch", "rensa")
    if "--million" not in options:
        os.environ.setdefault("RAYON_NUM_THREADS", "1")
        results["signatures"] = measure_signatures(*folders)
        rows = [
            [name, row["mb_per_second"], row["spread"], row.get("kernel_mb_per_second", "")]
            for name, row in results["signatures"].items()
        ]
        print_table([["", "MB/s", "spread", "kernel alone"], *rows])
    if "--kernel" not in options:
        results["million"] = measure_million(PARTS)
        print(json.dumps(results["million"], indent=1))
    write_results("duplicates", results)


if __name__ == "__main__":
    main()
