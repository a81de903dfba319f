"""Which part of a corpus is kept away from training, chosen the same way every time.

Whole files where there are enough of them, since a text is easier to guess for a model that saw the rest of its file;
whole documents where there are not; the ends of documents where there are few of those too.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ensue.core.seeds import seed_for
from ensue.text.cutting import cut_point
from ensue.text.document import Document

ENOUGH = 20
Part = Literal["train", "held_out"]
_OF_PIECES = r"(?:(?<=\.jsonl)|(?<=\.warc\.gz)|(?<=\.wet\.gz))"  # files that are read in pieces
_PLACE_IN_FILE = re.compile(rf"(?:{_OF_PIECES}@\d+)?:\d+$|#\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class HoldOutPlan:
    """What is held out: the files or documents with these keys, or the last `fraction` of every document.

    unit      "file", "document" or "tail"
    keys      `seed_for(seed, "held out", name)` of the files' names or documents' ids; empty for "tail"
    chosen    how many files or documents are held out, of `total`
    share     the part of the corpus' bytes that is held out; about that for "tail"
    """

    unit: Literal["file", "document", "tail"]
    seed: int
    fraction: float
    keys: frozenset[int]
    chosen: int
    total: int
    share: float

    def split(self, document: Document) -> Iterator[tuple[Part, Document]]:
        """The document with the part it belongs to; for "tail" up to two pieces whose texts joined are its text."""
        if self.unit == "tail":
            yield from _split_tail(document, self.fraction)
            return
        name = file_of(document.source) if self.unit == "file" else document.id
        yield ("held_out" if _key(self.seed, name) in self.keys else "train"), document

    def describe(self) -> str:
        """One sentence for the user."""
        if self.unit == "tail":
            each = "the document" if self.total == 1 else f"each of {self.total:,} documents"
            return f"held out: the last {100 * self.share:.1f}% of {each}"
        return f"held out: {self.chosen:,} of {self.total:,} {self.unit}s, {100 * self.share:.1f}% of the text"


def file_of(source: str) -> str:
    """The file a source lies in: `tang.jsonl.gz` for `tang.jsonl.gz:17`, `books/long.txt` for `books/long.txt#2`,
    `crawl.warc.gz` for `crawl.warc.gz@67108864:17`."""
    return _PLACE_IN_FILE.sub("", source)


def plan_held_out(columns: Iterable[tuple[str, str, int]], *, fraction: float = 0.05, seed: int) -> HoldOutPlan:
    """Choose about `fraction` of a corpus' bytes to hold out, from the (id, source, bytes) of its documents.

    With at least 20 files, whole files; else with at least 20 documents, whole documents; else the end of every
    document. They are taken in the order of a hash of (seed, name) until `fraction` is reached, passing over one that
    would make it more than double. Where sizes are so uneven that nothing between half and double of `fraction` comes
    out, the next finer way is used. Memory: 24 bytes a document. Raises ValueError for an empty corpus.
    """
    if not 0 < fraction <= 0.5:
        raise ValueError(f"The held-out fraction must be more than 0 and at most 0.5, not {fraction}.")
    files: dict[str, int] = {}
    keys, sizes = array("Q"), array("Q")
    for id, source, size in columns:
        file = file_of(source)
        files[file] = files.get(file, 0) + size
        keys.append(_key(seed, id))
        sizes.append(size)
    if not len(sizes):
        raise ValueError("The corpus has no documents, so nothing can be held out; prepare it again from some text.")
    bytes_in_all = sum(sizes)
    units: list[tuple[Literal["file", "document"], Sequence[int], Sequence[int]]] = [
        ("file", [_key(seed, file) for file in files], list(files.values())),
        ("document", keys, sizes),
    ]
    for unit, unit_keys, unit_sizes in units:
        if len(unit_keys) < ENOUGH:
            continue
        chosen = _choose(unit_keys, unit_sizes, fraction * bytes_in_all)
        share = sum(unit_sizes[index] for index in chosen) / max(bytes_in_all, 1)
        if fraction / 2 <= share <= 2 * fraction:
            taken = frozenset(unit_keys[index] for index in chosen)
            return HoldOutPlan(unit, seed, fraction, taken, len(chosen), len(unit_keys), share)
    return HoldOutPlan("tail", seed, fraction, frozenset(), len(sizes), len(sizes), fraction)


def _key(seed: int, name: str) -> int:
    return seed_for(seed, "held out", name)


def _choose(keys: Sequence[int], sizes: Sequence[int], wanted: float) -> list[int]:
    """Indices in the order of their keys until `wanted` bytes are reached, without one that makes it twice that."""
    import numpy

    chosen = []
    reached = 0
    for index in map(int, numpy.argsort(numpy.asarray(keys, dtype=numpy.uint64), kind="stable")):
        if reached >= wanted:
            break
        if reached + sizes[index] <= 2 * wanted:
            chosen.append(index)
            reached += sizes[index]
    return chosen


def _split_tail(document: Document, fraction: float) -> Iterator[tuple[Part, Document]]:
    length = len(document.text)
    cut = cut_point(document.text, int(length * (1 - 2 * fraction)), int(length * (1 - fraction)))
    kept, tail = document.text[:cut], document.text[cut:]
    if not kept.strip() or not tail.strip():
        yield "train", document
        return
    # Both parts go by the id of the whole, which is what its story in a corpus is told under.
    yield "train", Document(document.id, kept, document.source, document.meta)
    yield "held_out", Document(document.id, tail, document.source, {**document.meta, "held_out": "tail"})
