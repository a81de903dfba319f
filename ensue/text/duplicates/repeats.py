"""Documents that are there twice: the same text, or the same web address."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensue.text.curation.step import Arrays, Fact, NumberedJudge, Verdict, drop, keep
from ensue.text.document import Document
from ensue.text.duplicates.dropped import DroppedWriter, read_dropped
from ensue.text.duplicates.external_sort import ExternalSort
from ensue.text.duplicates.places import Places, room_in, scanned_places

_SCHEME = re.compile(r"^(?:https?:)?//", re.IGNORECASE)


@dataclass(frozen=True)
class RepeatedTexts:
    """Of documents with the same text, keep one: of the first collection in `prefer` that has it, else the earliest.

    Texts are the same if they are in Unicode's form NFC with any run of white space taken as one space.
    """

    prefer: tuple[str, ...] = ()

    def scan(self, documents: Sequence[Document], first: int) -> Arrays:
        """Hashes of 128 bits."""
        return _scan(documents, first, [normalised_text(document.text) for document in documents])

    def decide(self, scans: Iterable[Arrays], out: Path, *, memory: int, scratch: Path) -> Mapping[str, Fact]:
        """Sort the hashes; what comes again is dropped."""
        return _decide(scans, out, self.prefer, memory, scratch)

    def prepare(self, out: Path, first: int, last: int) -> NumberedJudge:
        """The judge of these documents."""
        return _judge(out, first, last, "the same text as another document")


@dataclass(frozen=True)
class RepeatedUrls:
    """Of documents with the same web address (meta "url"), keep one: of the first collection in `prefer` that has it,
    else the earliest. See `normalised_url` for which addresses are the same; documents without one stay."""

    prefer: tuple[str, ...] = ()

    def scan(self, documents: Sequence[Document], first: int) -> Arrays:
        """Hashes of 128 bits."""
        return _scan(documents, first, [normalised_url(document.meta.get("url", "")) for document in documents])

    def decide(self, scans: Iterable[Arrays], out: Path, *, memory: int, scratch: Path) -> Mapping[str, Fact]:
        """Sort the hashes; what comes again is dropped."""
        return _decide(scans, out, self.prefer, memory, scratch)

    def prepare(self, out: Path, first: int, last: int) -> NumberedJudge:
        """The judge of these documents."""
        return _judge(out, first, last, "the same address as another document")


def normalised_text(text: str) -> str:
    """The text in NFC with single spaces."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


def normalised_url(url: str) -> str:
    """An address without scheme, "www.", default port, fragment, white space and slash at the end, its host in lower
    case; "" stays.

    "https://www.Example.org:443/a/#top" is "example.org/a". What follows a question mark stays, as sites differ in
    what it means.
    """
    address = _SCHEME.sub("", "".join(url.split())).split("#", 1)[0]
    host = re.split(r"[/?]", address, maxsplit=1)[0]
    path, question, query = address[len(host) :].partition("?")
    host = re.sub(r":(?:80|443)?$", "", host.lower()).removeprefix("www.")
    return host + path.rstrip("/") + question + query


def hashes_of(texts: Sequence[str]) -> np.ndarray:
    """(N, 2) uint64: BLAKE2b of each."""
    digests = (hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.dtype("<u8")).astype(np.uint64).reshape(-1, 2)


def _scan(documents: Sequence[Document], first: int, texts: Sequence[str]) -> Arrays:
    counts = np.array([bool(text) for text in texts], np.bool_)
    return {**scanned_places(documents, first), "hashes": hashes_of(texts), "counts": counts}


def _decide(
    scans: Iterable[Arrays], out: Path, prefer: Sequence[str], memory: int, scratch: Path
) -> Mapping[str, Fact]:
    room = room_in(memory)
    places = Places(scratch, room=room)
    rows = ExternalSort(scratch / "hashes", columns=4, memory=room)
    for scan in scans:
        found = places.add(scan)
        rank = _ranks(places.codes.names, prefer, found)
        kept = scan["counts"]
        rows.add(np.column_stack([scan["hashes"], rank, found & np.uint64((1 << 48) - 1)])[kept])
    places.open()
    dropped = ExternalSort(scratch / "dropped", columns=2, memory=room)
    texts = 0
    for again, new in _come_again(rows.sorted_blocks()):
        dropped.add(again)
        texts += new
    writer = DroppedWriter(out, ())
    count = 0
    for block in dropped.sorted_blocks():
        indices = block.astype(np.int64)
        writer.write(places.numbers(indices[:, 0]), places.ids(indices[:, 1]))
        count += len(block)
    writer.close()
    return {"documents": places.count, "different": texts, "dropped": count}


def _come_again(blocks: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
    """Rows (index, index of the first with that hash) of all but the first, and how many hashes were new."""
    before = np.empty((0, 4), np.uint64)
    for block in blocks:
        block = np.concatenate([before, block])
        new = np.ones(len(block), np.bool_)
        new[1:] = (block[1:, :2] != block[:-1, :2]).any(axis=1)
        firsts = block[np.flatnonzero(new)[np.cumsum(new) - 1], 3]
        yield np.column_stack([block[:, 3], firsts])[~new], int(new.sum()) - len(before)
        before = block[np.flatnonzero(new)[-1:]]


def _ranks(names: Sequence[str], prefer: Sequence[str], places: np.ndarray) -> np.ndarray:
    """(N,) uint64 of places with their collections: the collection's place in `prefer`, or after all of them."""
    wanted = list(prefer)
    table = np.array([wanted.index(name) if name in wanted else len(wanted) for name in names], np.uint64)
    return np.asarray(table[(places >> np.uint64(48)).astype(np.int64)])


def _judge(out: Path, first: int, last: int, reason: str) -> NumberedJudge:
    dropped = {number: found["duplicate_of"].decode() for number, found in read_dropped(out, first, last, ())}

    def judge(number: int, document: Document) -> Verdict:
        return drop(reason, duplicate_of=dropped[number]) if number in dropped else keep(document)

    return judge
