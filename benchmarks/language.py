"""Language identification on real text: python -m benchmarks.language DATA

Accuracy of `Language` on the Universal Declaration of Human Rights in 27 languages (a file langid/udhr.jsonl.gz of
`lang` and `text`), lines and passages, and how much English prose it keeps.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, print_table, write_results
from ensue.text.document import Document
from ensue.text.filters.language import Language

UNSPACED = {"zh", "ja", "ko"}
SAME = {"nb": "no"}  # py3langid's code for Bokmål


def passages(text: str, size: int) -> list[str]:
    """Pieces of whole lines with at least `size` characters each."""
    found, lines = [], []
    for line in text.splitlines():
        lines.append(line)
        if sum(map(len, lines)) >= size:
            found.append("\n".join(lines))
            lines = []
    return found


def accuracy(rows: list[dict[str, str]], size: int) -> tuple[dict[str, Any], Counter[tuple[str, str]]]:
    """How often the right language is named, without a least probability, and which are taken for which.

    `size` 1 means lines of at least 40 characters (15 in Chinese, Japanese and Korean); else passages of so many, and a
    third of that in these.
    """
    judge = Language(keep=(), least=0).prepare()
    wrong: Counter[tuple[str, str]] = Counter()
    right, total, unsure, each = 0, 0, 0, {}
    for row in rows:
        least = (15 if row["lang"] in UNSPACED else 40) if size == 1 else 1
        goal = size // 3 if row["lang"] in UNSPACED else size
        parts = [part for part in passages(row["text"], max(goal, 1)) if len(part) >= least]
        hits = 0
        for part in parts:
            facts = judge(Document.of(part, "")).facts
            said = str(facts["language"])
            hits += said == SAME.get(row["lang"], row["lang"])
            unsure += float(facts["probability"]) < 0.5
            if said != SAME.get(row["lang"], row["lang"]):
                wrong[row["lang"], said] += 1
        right, total = right + hits, total + len(parts)
        each[row["lang"]] = round(hits / max(len(parts), 1), 4)
    result = {"texts": total, "accuracy": round(right / total, 4), "under_half_sure": round(unsure / total, 4)}
    return {**result, "by_language": each}, wrong


def main() -> None:
    """Measure, print, write results/language.json."""
    data = Path(sys.argv[1])
    with gzip.open(data / "langid" / "udhr.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    results: dict[str, Any] = {"machine": machine("py3langid", "numpy"), "udhr": {}}
    table: list[list[Any]] = [["texts", "number", "accuracy", "under half sure"]]
    for name, size in (("lines", 1), ("passages of 300", 300), ("passages of 800", 800)):
        found, wrong = accuracy(rows, size)
        confused = {f"{lang} as {said}": count for (lang, said), count in wrong.most_common(8)}
        results["udhr"][name] = {**found, "confused": confused}
        table.append([name, found["texts"], found["accuracy"], found["under_half_sure"]])
    books = [path.read_text(encoding="utf-8") for path in sorted((data / "books").glob("*.txt"))]
    pieces = [Document.of(part, "") for book in books for part in passages(book, 5000)]
    judge = Language().prepare()
    begun = time.perf_counter()
    kept = sum(bool(judge(piece).documents) for piece in pieces)
    seconds = time.perf_counter() - begun
    results["english_prose"] = {"texts": len(pieces), "kept": round(kept / len(pieces), 4)}
    results["documents_per_s"] = round(len(pieces) / seconds)
    print_table(table)
    print(f"English prose kept: {kept} of {len(pieces)}; {len(pieces) / seconds:,.0f} documents/s on one core")
    print(write_results("language", results))


if __name__ == "__main__":
    main()
