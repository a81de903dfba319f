"""What the filters drop of good prose and of web pages, and how fast they are: python -m benchmarks.filter_rates DATA

DATA holds books/, reference/brown.jsonl.gz, chinese/tang_poems_valid.jsonl.gz, web/ and langid/udhr.jsonl.gz. Speed is
of one core.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, print_table, write_results
from benchmarks.quality_scoring import pieces, rows, web_pages
from ensue.text.curation.step import DocumentStep
from ensue.text.document import Document
from ensue.text.filters.c4 import C4Rules
from ensue.text.filters.fineweb import FineWebRules
from ensue.text.filters.gopher_quality import GopherQuality
from ensue.text.filters.gopher_repetition import GopherRepetition
from ensue.text.filters.personal import PersonalData

STEPS: tuple[DocumentStep, ...] = (C4Rules(), GopherQuality(), GopherRepetition(), FineWebRules(), PersonalData())


def collections(data: Path) -> dict[str, list[Document]]:
    """Good prose and verse, and web pages."""
    books = [path.read_text(encoding="utf-8") for path in sorted((data / "books").glob("*.txt"))]
    poems = [row["text"] for row in rows(data / "chinese/tang_poems_valid.jsonl.gz")]
    whole = [poem for poem in poems if "{" not in poem]
    forties = ["\n\n".join(whole[start : start + 40]) for start in range(0, len(whole) - 39, 40)]
    udhr = rows(data / "langid/udhr.jsonl.gz")
    with gzip.open(data / "web/articles.jsonl.gz", "rt", encoding="utf-8") as file:
        articles = [json.loads(line)["article_body"] for line in file]
    named = {
        "books, passages of 4,000 characters": [piece for book in books for piece in pieces(book)],
        "whole books": books,
        "Brown corpus": [row["text"] for row in rows(data / "reference/brown.jsonl.gz")],
        "news articles, by hand": articles,
        "Tang poems, 40 a document": forties,
        "Tang poems, single": poems,
        "web pages, main text": main_texts(data),
    }
    documents = {name: [Document.of(text, "") for text in texts] for name, texts in named.items()}
    declaration = [Document.of(row["text"], row["lang"], {"language": row["lang"]}) for row in udhr]
    return {**documents, "Declaration of Human Rights, 27 languages": declaration}


def main_texts(data: Path) -> list[str]:
    """What trafilatura takes for the main text of the English pages."""
    from trafilatura import extract

    texts = [extract(page, include_comments=False) for page in web_pages(data)]
    return [text for text in texts if text]


def measure(step: DocumentStep, documents: Sequence[Document]) -> dict[str, Any]:
    """The share kept, the reasons, MB/s."""
    judge = step.prepare()
    reasons: Counter[str] = Counter()
    begun = time.perf_counter()
    for document in documents:
        verdict = judge(document)
        reasons[verdict.reason] += 1
        if not verdict.documents:
            reasons["dropped"] += 1
    seconds = time.perf_counter() - begun
    size = sum(len(document.text.encode()) for document in documents) / 1e6
    dropped = reasons.pop("dropped", 0)
    reasons.pop("", None)
    kept = round(1 - dropped / len(documents), 4)
    return {"kept": kept, "mb_per_s": round(size / seconds, 1), "reasons": dict(reasons.most_common(6))}


def main() -> None:
    """Measure, print, write results/filter_rates.json."""
    table: list[list[Any]] = [["text", "documents", *(type(step).__name__ for step in STEPS)]]
    results: dict[str, Any] = {}
    for name, documents in collections(Path(sys.argv[1])).items():
        found = {type(step).__name__: measure(step, documents) for step in STEPS}
        results[name] = {"documents": len(documents), **found}
        table.append([name, len(documents), *(f"{each['kept']:.3f} at {each['mb_per_s']}" for each in found.values())])
    print_table(table)
    print(write_results("filter_rates", {"machine": machine("numpy"), "kept": results}))


if __name__ == "__main__":
    main()
