"""Evaluation text in books: what is found and cut, and how fast it is looked for.

python -m benchmarks.decontamination DATA, where DATA holds books/, chinese/tang_poems_train.jsonl.gz and tasks/.
Speed is of one core.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, median, write_results
from benchmarks.quality_scoring import rows
from ensue.text.contamination.decontaminate import Decontaminate
from ensue.text.contamination.evaluation import evaluation_grams
from ensue.text.contamination.overlap import FileOverlap, overlap_with
from ensue.text.document import Document

REPEATS = 5


def scan_speed(step: Decontaminate, documents: Sequence[Document]) -> float:
    """Megabytes of UTF-8 a second, the median of a few passes after one."""
    step.scan(documents[:1], 0)
    size, seconds = sum(len(document.text.encode()) for document in documents), list[float]()
    for _ in range(REPEATS):
        begun = time.perf_counter()
        step.scan(documents, 0)
        seconds.append(time.perf_counter() - begun)
    return round(size / 1e6 / median(seconds), 1)


def decide_and_judge(step: Decontaminate, documents: Sequence[Document]) -> dict[str, Any]:
    """What is found, and what becomes of the documents."""
    with tempfile.TemporaryDirectory() as folder:
        out, scratch = Path(folder, "out"), Path(folder, "scratch")
        out.mkdir()
        scratch.mkdir()
        figures = dict(step.decide(iter([step.scan(documents, 0)]), out, memory=1 << 31, scratch=scratch))
        judge = step.prepare(out, 0, len(documents))
        verdicts = [judge(number, document) for number, document in enumerate(documents)]
    return {**figures, "documents": dict(Counter(verdict.reason or "untouched" for verdict in verdicts))}


def stories(overlap: FileOverlap) -> dict[str, int]:
    """Items and stories of FairytaleQA: all, those with any gram in the corpus, and with more than half of them."""
    names = [row["story"] for row in rows(Path(overlap.file))]
    some = {names[item.row - 1] for item in overlap.dirty}
    most = {names[item.row - 1] for item in overlap.dirty if item.shared > item.grams / 2}
    return {"stories": len(set(names)), "with a gram": len(some), "with more than half": len(most)}


def main(data: Path) -> None:
    books = [Document.of(path.read_text("utf-8"), path.name) for path in sorted((data / "books").glob("*.txt"))]
    poems = [
        Document.of(row["text"], str(number))
        for number, row in enumerate(rows(data / "chinese/tang_poems_train.jsonl.gz"))
    ]
    step = Decontaminate((str(data / "tasks"),))
    begun = time.perf_counter()
    grams = evaluation_grams(step.against, step.gram_size)
    results: dict[str, Any] = {
        "evaluation_grams": len(grams.grams.hashes),
        "seconds_to_read_them": round(time.perf_counter() - begun, 1),
        "MB_per_second": {"books": scan_speed(step, books), "Tang poems": scan_speed(step, poems)},
        "books": decide_and_judge(step, books),
    }
    overlaps = overlap_with(books, [str(data / "tasks")], words=13)
    results["dirty_items"] = {Path(each.file).name: len(each.dirty) for each in overlaps if each.dirty}
    results["stories"] = {Path(each.file).name: stories(each) for each in overlaps if "fairytale" in each.file}
    print(json.dumps(results, indent=1))
    print(write_results("decontamination", {"machine": machine("numpy", "numba"), **results}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
