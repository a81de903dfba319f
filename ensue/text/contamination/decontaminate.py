"""The step that keeps evaluation sets out of a corpus, by the rules of GPT-3 (2020, appendix C)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensue.text.contamination.batches import in_batches
from ensue.text.contamination.cutting import cut_out
from ensue.text.contamination.evaluation import EvaluationIndex, evaluation_grams, index_evaluation
from ensue.text.contamination.grams import GramSet, GramSize, find_grams
from ensue.text.curation.step import Arrays, Fact, NumberedJudge, Verdict, change, drop, keep, split
from ensue.text.document import Document

REVIEW, IGNORED = "review.jsonl", "ignored.jsonl"
SHOWN_CHARACTERS = 500
"""Of a passage in the list for review."""


@dataclass(frozen=True)
class Decontaminate:
    """Cut the text of evaluation items out of documents, or drop documents that are full of it.

    A document that shares a gram with an evaluation item loses the gram and `window` characters on both sides of it,
    and goes on as the pieces that are left. Pieces under `least_piece` characters are dropped. One that is split into
    more than `most_pieces` (short ones count) is dropped whole. Grams in more than `common` documents are common
    property, and are left alone.

    against     files or folders of evaluation items: .jsonl .csv .tsv .parquet .txt .md; each string of a row counts
    size        words of a gram: lower-case, between white space, without punctuation
    characters  the same in scripts that put no spaces between words; 20 Chinese characters say about what 13 words do

    `review.jsonl` lists what is cut, by document and passage: {id, source, file, row, grams, text}, the text as it
    stands in the evaluation item. `ignored.jsonl` has the grams that were left alone: {documents, text, file, row}.
    """

    against: tuple[str, ...]
    size: int = 13
    characters: int = 20
    window: int = 200
    least_piece: int = 200
    most_pieces: int = 10
    common: int = 10

    def __post_init__(self) -> None:
        if not self.against:
            raise ValueError('say what to keep out: Decontaminate(against=("tasks/",))')
        if min(self.window, self.least_piece, self.common) < 0 or self.most_pieces < 1:
            raise ValueError(f"window, pieces and counts are 0 or more, and pieces at least 1, not as in {self}.")
        _ = self.gram_size

    @property
    def gram_size(self) -> GramSize:
        return GramSize(self.size, self.characters)

    def scan(self, documents: Sequence[Document], first: int) -> Arrays:
        """The hashes of the grams that each document shares with an evaluation item, once each, and its name."""
        known = evaluation_grams(self.against, self.gram_size)
        columns, done = [np.zeros((2, 0), np.uint64)], 0
        for batch in in_batches(documents):
            found = find_grams(batch.text, self.gram_size, known.grams)
            owners = (done + batch.owners(found.starts)).astype(np.uint64)
            columns.append(np.stack([owners, found.hashes]))
            done += len(batch.documents)
        pairs = np.unique(np.concatenate(columns, axis=1), axis=1)
        touched, counts = np.unique(pairs[0].astype(np.int64), return_counts=True)
        names = [(documents[place].id, documents[place].source) for place in touched.tolist()]
        return {
            "numbers": first + touched,
            "counts": counts.astype(np.int64),
            "hashes": pairs[1],
            "names": np.frombuffer(json.dumps(names, ensure_ascii=False).encode("utf-8", "surrogatepass"), np.uint8),
            "digest": np.frombuffer(known.digest.encode(), np.uint8),
        }

    def decide(self, scans: Iterable[Arrays], out: Path, *, memory: int, scratch: Path) -> Mapping[str, Fact]:
        """Count the documents of each gram, set aside those in too many, and list what will be cut.

        Raises ValueError where the evaluation files are not what they were when the corpus was scanned.
        """
        index, digest = index_evaluation(self.against, self.gram_size, memory=memory)
        documents = np.zeros(len(index.hashes), np.int64)
        kept: list[Path] = []
        for scan in scans:
            if scan["digest"].tobytes().decode() != digest:
                raise ValueError(
                    f"the evaluation files {', '.join(self.against)} were changed while the corpus was read; put them "
                    "back, or curate again into a new folder."
                )
            if len(scan["hashes"]):
                documents += np.bincount(np.searchsorted(index.hashes, scan["hashes"]), minlength=len(documents))
                kept.append(scratch / f"{len(kept)}.npz")
                np.savez(kept[-1], allow_pickle=False, **scan)
        cut = (documents > 0) & (documents <= self.common)
        numbers = self._write_review(out / REVIEW, index, cut, map(_load, kept))
        self._write_ignored(out / IGNORED, index, documents)
        np.save(out / "numbers.npy", np.array(numbers, np.int64))
        np.save(out / "hashes.npy", index.hashes[cut])
        owners = [[index.items[item].file, index.items[item].row] for item in index.item[cut].tolist()]
        (out / "items.json").write_text(json.dumps(owners, ensure_ascii=False), encoding="utf-8")
        return {
            "evaluation_items": index.rows,
            "evaluation_grams": len(index.hashes),
            "grams_found": int((documents > 0).sum()),
            "grams_ignored": int((documents > self.common).sum()),
            "documents_to_cut": len(numbers),
        }

    def prepare(self, out: Path, first: int, last: int) -> NumberedJudge:
        """A judge that looks again at the documents in which something is to be cut, and passes the others on."""
        numbers = np.load(out / "numbers.npy")
        touched = set(numbers[np.searchsorted(numbers, first) : np.searchsorted(numbers, last)].tolist())
        if not touched:
            return lambda _, document: keep(document)
        hashes = np.load(out / "hashes.npy")
        owners: list[tuple[str, int]] = json.loads((out / "items.json").read_text(encoding="utf-8"))
        grams = GramSet(hashes)

        def judge(number: int, document: Document) -> Verdict:
            if number not in touched:
                return keep(document)
            found = find_grams(document.text, self.gram_size, grams)
            cut = cut_out(document.text, found.starts, found.stops, window=self.window)
            long = [piece for piece in cut.pieces if len(piece) >= self.least_piece]
            file, row = owners[int(np.searchsorted(hashes, found.hashes[0]))]
            facts: dict[str, Fact] = {
                "grams": len(found.hashes),
                "places": cut.places,
                "cut_characters": cut.characters,
                "pieces": len(cut.pieces),
                "short_pieces": len(cut.pieces) - len(long),
                "first_item": f"{file}:{row}",
            }
            if len(cut.pieces) > self.most_pieces:
                return drop("evaluation text in too many places", **facts)
            if not long:
                return drop("little but evaluation text", **facts)
            if len(long) == 1:
                return change(document, long[0], "evaluation text cut out", **facts)
            return split(document, long, "evaluation text cut out", **facts)

        return judge

    def _write_review(self, path: Path, index: EvaluationIndex, cut: np.ndarray, scans: Iterable[Arrays]) -> list[int]:
        """List every passage of every document, and return the numbers of the documents."""
        numbers: list[int] = []
        with path.open("w", encoding="utf-8", errors="surrogatepass") as file:
            for scan in scans:
                for number, (id, source), hashes in _rows(scan):
                    places = np.searchsorted(index.hashes, hashes)
                    places = places[cut[places]]
                    if len(places):
                        numbers.append(number)
                    for item, grams, text in index.passages(places):
                        where = {"file": index.items[item].file, "row": index.items[item].row}
                        row = {"id": id, "source": source, **where, "grams": grams, "text": text[:SHOWN_CHARACTERS]}
                        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return numbers

    def _write_ignored(self, path: Path, index: EvaluationIndex, documents: np.ndarray) -> None:
        """List the grams in too many documents, most frequent first."""
        places = np.flatnonzero(documents > self.common)
        with path.open("w", encoding="utf-8", errors="surrogatepass") as file:
            for place in places[np.argsort(-documents[places], kind="stable")].tolist():
                item = index.items[index.item[place]]
                text = index.text(int(index.item[place]))[index.starts[place] : index.stops[place]]
                row = {"documents": int(documents[place]), "text": text, "file": item.file, "row": item.row}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _load(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _rows(scan: Arrays) -> Iterator[tuple[int, tuple[str, str], np.ndarray]]:
    """(number, (id, source), hashes) of each document that a scan found something in."""
    names = json.loads(scan["names"].tobytes().decode("utf-8", "surrogatepass"))
    stops = np.cumsum(scan["counts"])
    for number, name, start, stop in zip(
        scan["numbers"].tolist(), names, (stops - scan["counts"]).tolist(), stops.tolist(), strict=True
    ):
        yield number, tuple(name), scan["hashes"][start:stop]
