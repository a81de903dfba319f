"""Passages that the classifier is trained and measured on: a sample by hash, the same however the work is divided."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ensue.core.seeds import seed_for
from ensue.text.curation.step import Arrays
from ensue.text.document import Document
from ensue.text.quality.scoring import LOOKED_AT, buckets_of
from ensue.text.quality.tokens import tokens_by_piece

NEVER = np.uint64(2**64 - 1)
NAMED = 200
"""Passages of a part whose tokens are kept too, so that buckets can be named."""

ALWAYS_TAKEN = 100
FIRST_PART = 2000


@dataclass(frozen=True)
class Passage:
    """Up to so many tokens of one document.

    key       its place in the order in which passages are sampled
    held_out  whether its document is for measuring
    digest    of the document's text, 64 bits;  id  the first 64 bits of its id
    buckets   those it has, ascending; int32;   counts  how often; uint16
    """

    key: int
    held_out: bool
    digest: int
    id: int
    buckets: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Cutting:
    """How documents are cut into passages and hashed, and which of them are held out."""

    seed: int
    features: int
    passage: int
    held_out: float

    def passages(self, document: Document, below: int) -> list[Passage]:
        """The document's passages with a key under `below`."""
        buckets = buckets_of(document.text, self.features)
        starts = range(0, len(buckets), self.passage)
        keys = [2 * seed_for(self.seed, "quality sample", document.id, number) for number in range(len(starts))]
        if not any(key < below for key in keys):
            return []
        held_out = seed_for(self.seed, "quality held out", document.id) < self.held_out * 2**63
        digest, id = text_digest(document.text), id_digest(document.id)
        found = []
        for key, start in zip(keys, starts, strict=True):
            if key < below:
                part = np.unique(buckets[start : start + self.passage], return_counts=True)
                found.append(Passage(key, held_out, digest, id, part[0], part[1].astype(np.uint16)))
        return found

    def tokens(self, document: Document, below: int) -> list[str]:
        """The tokens of those passages."""
        all_tokens = tokens_by_piece(document.text[:LOOKED_AT])
        found: list[str] = []
        for number, start in enumerate(range(0, len(all_tokens), self.passage)):
            if 2 * seed_for(self.seed, "quality sample", document.id, number) < below:
                found += all_tokens[start : start + self.passage]
        return found


class Sample:
    """The passages with the lowest keys, `most` of them, from any number that are added in any order."""

    def __init__(self, most: int) -> None:
        self.most, self.below = most, int(NEVER)
        self._held: list[Passage] = []

    def add(self, passages: Iterable[Passage]) -> None:
        """Take those that are among the lowest so far."""
        self._held += [passage for passage in passages if passage.key < self.below]
        if len(self._held) > 2 * self.most:
            self._cut()

    def limit(self, below: int) -> None:
        """Forget those with keys from `below` on, and take none of them any more."""
        if below < self.below:
            self.below = below
            self._held = [passage for passage in self._held if passage.key < below]

    def result(self) -> list[Passage]:
        """The passages in the order of their keys."""
        self._cut()
        return self._held

    def _cut(self) -> None:
        self._held.sort(key=lambda passage: passage.key)
        if len(self._held) > self.most:
            self.below = self._held[self.most].key
            del self._held[self.most :]


def most_of_part(number: int) -> int:
    """How many passages of the part that begins with document `number` are stored at most.

    Many of the first parts, so that small corpora are sampled well, and a few of any, so that what is stored of a large
    corpus is a small share of it.
    """
    earlier = (number >> 40) + (number >> 24 & 0xFFFF)
    return max(ALWAYS_TAKEN, FIRST_PART // (1 + earlier))


def scan_passages(documents: Sequence[Document], number: int, cutting: Cutting) -> Arrays:
    """The passages of a part with the lowest keys as arrays, and `limit`, the lowest key that was left out.

    All passages of the corpus with keys under every part's limit are there, so they are a fair sample of it.
    """
    sample = Sample(most_of_part(number))
    for document in documents:
        sample.add(cutting.passages(document, sample.below))
    passages = sample.result()
    named = passages[NAMED].key if len(passages) > NAMED else sample.below
    counts: Counter[str] = Counter()
    ids = {passage.id for passage in passages[:NAMED]}
    for document in documents:
        if id_digest(document.id) in ids:
            counts.update(cutting.tokens(document, named))
    return {**_pack_passages(passages), **_pack_counts(counts), "limit": np.array([sample.below], np.uint64)}


def gather_passages(scans: Iterable[Arrays], most: int) -> tuple[list[Passage], Counter[str]]:
    """A fair sample of at most `most` passages from the scans of all parts, and how often each token is in some."""
    sample, names = Sample(most), Counter[str]()
    for arrays in scans:
        sample.limit(int(arrays["limit"][0]))
        sample.add(_unpack_passages(arrays))
        names.update(_unpack_counts(arrays))
        prune(names)
    return sample.result(), names


def read_passages(
    documents: Iterable[Document], most: int, cutting: Cutting, on_document: Callable[[Document], None]
) -> tuple[list[Passage], Counter[str]]:
    """The same from documents that are read here; `on_document` sees each of them."""
    sample, names, counted = Sample(most), Counter[str](), 0
    for document in documents:
        on_document(document)
        found = cutting.passages(document, sample.below)
        sample.add(found)
        if found and counted < NAMED * cutting.passage:
            told = cutting.tokens(document, sample.below)
            names.update(told)
            counted += len(told)
            prune(names)
    return sample.result(), names


MOST_NAMES = 400_000


def prune(names: Counter[str]) -> None:
    """Forget the rarest tokens where there are more than MOST_NAMES."""
    least = 1
    while len(names) > MOST_NAMES:
        for name in [name for name, count in names.items() if count <= least]:
            del names[name]
        least += 1


def text_digest(text: str) -> int:
    """64 bits of a text, by which equal texts are known."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def id_digest(id: str) -> int:
    """64 bits of an id."""
    return int.from_bytes(hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _pack_passages(passages: Sequence[Passage]) -> dict[str, np.ndarray]:
    empty = np.zeros(0, np.int32)
    return {
        "key": np.array([passage.key for passage in passages], np.uint64),
        "held_out": np.array([passage.held_out for passage in passages], bool),
        "digest": np.array([passage.digest for passage in passages], np.uint64),
        "id": np.array([passage.id for passage in passages], np.uint64),
        "ends": np.cumsum([len(passage.buckets) for passage in passages], dtype=np.int64),
        "buckets": np.concatenate([empty, *(passage.buckets for passage in passages)]).astype(np.int32),
        "counts": np.concatenate([empty, *(passage.counts for passage in passages)]).astype(np.uint16),
    }


def _unpack_passages(arrays: Arrays) -> list[Passage]:
    start = 0
    found = []
    for row, end in enumerate(arrays["ends"].tolist()):
        buckets, counts = arrays["buckets"][start:end].copy(), arrays["counts"][start:end].copy()
        values = (
            int(arrays["key"][row]),
            bool(arrays["held_out"][row]),
            int(arrays["digest"][row]),
            int(arrays["id"][row]),
        )
        found.append(Passage(*values, buckets, counts))
        start = end
    return found


def _pack_counts(counts: Counter[str]) -> dict[str, np.ndarray]:
    names = sorted(counts)
    text = "\n".join(names).encode("utf-8", "surrogatepass")  # tokens hold no line ends
    return {"names": np.frombuffer(text, np.uint8), "name_counts": np.array([counts[name] for name in names], np.int64)}


def _unpack_counts(arrays: Arrays) -> dict[str, int]:
    text = arrays["names"].tobytes().decode("utf-8", "surrogatepass")
    return dict(zip(text.split("\n"), arrays["name_counts"].tolist(), strict=True)) if text else {}
