"""Main text of web pages beside other extractors: python -m benchmarks.extraction WEB

FOLDER holds pages.jsonl, whose rows name pages and segments that a good extraction keeps (`expect`) and drops
(`reject`), as in trafilatura's own evaluation, and articles.jsonl.gz, whose rows hold whole articles written down by
hand. resiliparse and readability-lxml are measured where they are installed. Every extractor gets the same decoded
HTML, one page after another, by turns; what is told is processor time, of children too. Ensue's reader of pages was
made by looking at one half of them, chosen by the hash of their names; scores are told of the other, held out, too.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, median, print_table, spread, write_results
from ensue.text.document import Document
from ensue.text.encodings import decode_page
from ensue.text.web.extract import Extract
from ensue.text.web.first_pass import first_pass
from ensue.text.web.page_tree import read_tree

Extractor = Callable[[str], str]
ROUNDS = 2
WORDS = 4
SHARES = (0.5, 0.8)


@dataclass(frozen=True)
class Judged:
    """A page, with the segments it was judged by or the article that is on it."""

    html: str
    held_out: bool
    expect: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    article: str = ""


def read_pages(folder: Path) -> list[Judged]:
    rows = (folder / "pages.jsonl").read_text(encoding="utf-8").splitlines()
    with gzip.open(folder / "articles.jsonl.gz", "rt", encoding="utf-8") as file:
        rows += file.readlines()
    return [
        Judged(
            _html(folder / row["file"]),
            bool(hashlib.sha256(Path(row["file"]).name.encode()).digest()[0] & 1),
            tuple(row.get("expect") or ()),
            tuple(row.get("reject") or ()),
            row.get("article_body") or "",
        )
        for row in map(json.loads, rows)
    ]


def _html(path: Path) -> str:
    decoded = decode_page(gzip.decompress(path.read_bytes()))
    assert decoded is not None, path
    return decoded[0]


def by_segments(pages: list[Judged], texts: list[str]) -> dict[str, float]:
    """Precision, recall and F of judged segments over all pages; one is found where it stands verbatim."""
    kept = wrong = missed = 0
    for page, text in zip(pages, texts, strict=True):
        found = sum(segment in text for segment in page.expect)
        kept, missed = kept + found, missed + len(page.expect) - found
        wrong += sum(segment in text for segment in page.reject)
    return _scores(kept / max(kept + wrong, 1), kept / max(kept + missed, 1))


def by_shingles(pages: list[Judged], texts: list[str]) -> dict[str, float]:
    """Mean precision and mean recall of 4-word shingles over the pages whose article is known, and the F of the two."""
    precisions, recalls = [], []
    for page, text in zip(pages, texts, strict=True):
        if not page.article:
            continue
        truth, said = Counter(_shingles(page.article)), Counter(_shingles(text))
        both = (truth & said).total()
        precisions.append(both / max(said.total(), 1))
        recalls.append(both / max(truth.total(), 1))
    return _scores(sum(precisions) / len(precisions), sum(recalls) / len(recalls))


def _shingles(text: str) -> Iterator[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    return (tuple(words[start : start + WORDS]) for start in range(max(len(words) - WORDS + 1, 1)))


def of_half(pages: list[Judged], texts: list[str], *, held_out: bool) -> dict[str, float]:
    """F by segments and by shingles over one half of the pages."""
    chosen = [(page, text) for page, text in zip(pages, texts, strict=True) if page.held_out == held_out]
    half, said = [page for page, _ in chosen], [text for _, text in chosen]
    return {"segments": by_segments(half, said)["f"], "shingles": by_shingles(half, said)["f"]}


def _scores(precision: float, recall: float) -> dict[str, float]:
    f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": round(precision, 3), "recall": round(recall, 3), "f": round(f, 3)}


def extractors() -> dict[str, Extractor]:
    import trafilatura

    def ensue(step: Extract) -> Extractor:
        judge = step.prepare()

        def extract(html: str) -> str:
            documents = judge(Document("", html, "", {"type": "text/html"})).documents
            return documents[0].text if documents else ""

        return extract

    full = partial(trafilatura.extract, include_comments=False)
    found: dict[str, Extractor] = {
        "ensue Extract (and title, date, language)": ensue(Extract()),
        "ensue Extract, enough=0": ensue(Extract(enough=0)),
        "ensue's reader of pages alone": lambda html: first_pass(read_tree(html)).text,
        "trafilatura, without comments": full,
        "trafilatura, default": trafilatura.extract,
        "trafilatura, fast, without comments": partial(trafilatura.extract, include_comments=False, fast=True),
    }
    if _installed("resiliparse"):
        from resiliparse.extract.html2text import extract_plain_text

        main = partial(extract_plain_text, main_content=True, alt_texts=False, links=False)
        found["resiliparse, main content"] = main
        for share in SHARES:
            found[f"first pass: resiliparse, if it keeps {share:.0%} of the page's text; else trafilatura"] = partial(
                _in_two,
                main,
                full,
                lambda text, html, share=share: len(text) >= share * len(extract_plain_text(html, main_content=False)),
            )
    if _installed("readability-lxml"):
        from lxml import html as lxml_html
        from readability import Document as Readable

        found["readability-lxml"] = lambda html: lxml_html.fromstring(Readable(html).summary()).text_content()
    return found


def _in_two(first: Extractor, second: Extractor, suffices: Callable[[str, str], bool], html: str) -> str:
    text = first(html)
    return text if suffices(text, html) else second(html)


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def run(extractor: Extractor, pages: list[Judged]) -> list[str]:
    texts = []
    for page in pages:
        try:
            texts.append(extractor(page.html) or "")
        except Exception:  # a contender that fails on a page has found nothing there
            texts.append("")
    return texts


def processor_seconds() -> float:
    """What this process and its children (in one of which Ensue extracts) have used, whatever else the machine does."""
    used = time.process_time()
    for thread in Path("/proc/self/task").iterdir():
        for child in (thread / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def main(folder: Path) -> None:
    logging.disable(logging.CRITICAL)
    pages = read_pages(folder)
    contenders = extractors()
    texts: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(ROUNDS):
        for place in range(len(contenders)):
            name = list(contenders)[(turn + place) % len(contenders)]
            run(contenders[name], pages[:3])
            begun = processor_seconds()
            texts[name] = run(contenders[name], pages)
            seconds[name].append(processor_seconds() - begun)
    results: dict[str, Any] = {}
    for name in contenders:
        results[name] = {
            "segments": by_segments(pages, texts[name]),
            "shingles": by_shingles(pages, texts[name]),
            "looked_at": of_half(pages, texts[name], held_out=False),
            "held_out": of_half(pages, texts[name], held_out=True),
            "pages_per_second": round(len(pages) / median(seconds[name]), 1),
            "spread_s": spread(seconds[name]),
            "without_text": sum(not text.strip() for text in texts[name]),
        }
    packages = [name for name in ("trafilatura", "resiliparse", "readability-lxml") if _installed(name)]
    write_results(
        "extraction",
        {
            "load_average": round(os.getloadavg()[0], 2),
            "machine": machine(*packages, "lxml"),
            "pages": len(pages),
            "with_segments": sum(bool(page.expect or page.reject) for page in pages),
            "held_out": sum(page.held_out for page in pages),
            "relied_on": round(
                sum(first_pass(read_tree(page.html)).suffices(Extract().enough) for page in pages) / len(pages), 3
            ),
            "with_article": sum(bool(page.article) for page in pages),
            "megabytes_of_html": round(sum(len(page.html.encode()) for page in pages) / 1e6, 1),
            "extractors": results,
        },
    )
    heads = ["P", "R", "F (segments)", "P", "R", "F (shingles)", "F held out", "F (shingles) held out", "pages/s"]
    rows: list[list[Any]] = [["extractor", *heads]]
    for name, result in results.items():
        scores = [value for kind in ("segments", "shingles", "held_out") for value in result[kind].values()]
        rows.append([name, *scores, result["pages_per_second"]])
    print_table(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
