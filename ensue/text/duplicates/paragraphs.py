"""Paragraphs that were there before, in an earlier document: cut, and documents of which little is left dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ensue.text.curation.step import Arrays, Fact, NumberedJudge, Verdict, change, drop, keep
from ensue.text.document import Document
from ensue.text.duplicates.dropped import DroppedWriter, read_dropped
from ensue.text.duplicates.external_sort import ExternalSort
from ensue.text.duplicates.places import Places, room_in, scanned_places
from ensue.text.duplicates.repeats import hashes_of, normalised_text

FACTS = (("paragraph", "<u4"),)


@dataclass(frozen=True)
class RepeatedParagraphs:
    """Cut paragraphs that an earlier document has too, and drop a document of which too little is left.

    between   what paragraphs are separated by: "line" breaks, or "blank" lines
    shortest  bytes of UTF-8 from which on a paragraph counts, so that headings and lines of verse may come again; bytes
              because a Chinese character, which is three of them, says more than a letter
    least     bytes that must be left of a document that something was cut from

    Paragraphs are the same if they are in Unicode's form NFC with any run of white space taken as one space. What comes
    again in one document stays there. Which document is earlier is judged before any is dropped. `duplicate_of` is the
    first document with the first of the paragraphs that were cut.
    """

    between: Literal["line", "blank"] = "line"
    shortest: int = 60
    least: int = 200

    def __post_init__(self) -> None:
        if self.between not in ("line", "blank"):
            raise ValueError(f'between={self.between!r} is not "line" or "blank".')

    def scan(self, documents: Sequence[Document], first: int) -> Arrays:
        """Hashes of 128 bits of the paragraphs that count, with their document and their place in it."""
        found = [
            (row, place, text)
            for row, document in enumerate(documents)
            for place, text in enumerate(self._paragraphs(document.text))
            if len(text.encode("utf-8", "surrogatepass")) >= self.shortest
        ]
        return {
            **scanned_places(documents, first),
            "hashes": hashes_of([normalised_text(text) for _, _, text in found]),
            "rows": np.array([row for row, _, _ in found], np.uint64),
            "paragraphs": np.array([place for _, place, _ in found], np.uint64),
        }

    def decide(self, scans: Iterable[Arrays], out: Path, *, memory: int, scratch: Path) -> Mapping[str, Fact]:
        """Sort the hashes; what comes again in a later document is cut."""
        room = room_in(memory)
        places = Places(scratch, room=room)
        rows = ExternalSort(scratch / "hashes", columns=4, memory=room)
        for scan in scans:
            before = np.uint64(places.count)
            places.add(scan)
            rows.add(np.column_stack([scan["hashes"], scan["rows"] + before, scan["paragraphs"]]))
        places.open()
        cut = ExternalSort(scratch / "cut", columns=3, memory=room)
        for again in _come_again(rows.sorted_blocks()):
            cut.add(again)
        writer = DroppedWriter(out, FACTS)
        count = 0
        for block in cut.sorted_blocks():
            indices = block.astype(np.int64)
            writer.write(places.numbers(indices[:, 0]), places.ids(indices[:, 2]), paragraph=block[:, 1])
            count += len(block)
        writer.close()
        return {"documents": places.count, "paragraphs_cut": count}

    def prepare(self, out: Path, first: int, last: int) -> NumberedJudge:
        """The judge of these documents."""
        cuts: dict[int, dict[int, str]] = defaultdict(dict)
        for number, found in read_dropped(out, first, last, FACTS):
            cuts[number][int(found["paragraph"])] = found["duplicate_of"].decode()

        def judge(number: int, document: Document) -> Verdict:
            return self._judge(document, cuts[number]) if number in cuts else keep(document)

        return judge

    def _judge(self, document: Document, cuts: Mapping[int, str]) -> Verdict:
        paragraphs = self._paragraphs(document.text)
        text = self._between.join(text for place, text in enumerate(paragraphs) if place not in cuts)
        facts: dict[str, Fact] = {"duplicate_of": cuts[min(cuts)], "cut": len(cuts), "paragraphs": len(paragraphs)}
        left = len(text.strip().encode("utf-8", "surrogatepass"))
        if left < self.least:
            return drop("too little left without paragraphs of earlier documents", bytes_left=left, **facts)
        return change(document, text, "paragraphs of earlier documents", **facts)

    @property
    def _between(self) -> str:
        return "\n" if self.between == "line" else "\n\n"

    def _paragraphs(self, text: str) -> list[str]:
        return text.split(self._between)


def _come_again(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Rows (document, paragraph, earliest document with it) of those whose earliest document is another."""
    before = np.empty((0, 4), np.uint64)
    for block in blocks:
        block = np.concatenate([before, block])
        new = np.ones(len(block), np.bool_)
        new[1:] = (block[1:, :2] != block[:-1, :2]).any(axis=1)
        earliest = block[np.flatnonzero(new)[np.cumsum(new) - 1], 2]
        later = block[:, 2] != earliest
        yield np.column_stack([block[:, 2], block[:, 3], earliest])[later]
        before = block[np.flatnonzero(new)[-1:]]
