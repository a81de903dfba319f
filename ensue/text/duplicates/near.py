"""Texts that are nearly the same: MinHash and locality-sensitive hashing find them, real Jaccard similarity decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np

from ensue.text.curation.step import Arrays, Fact, NumberedJudge, Verdict, drop, keep
from ensue.text.document import Document
from ensue.text.duplicates.comparing import check_across, dropping, in_order
from ensue.text.duplicates.dropped import read_dropped
from ensue.text.duplicates.places import scanned_places
from ensue.text.duplicates.shingles import Kind, sketch

FACTS = (("jaccard", "<f4"), ("cluster", "<u4"))
REASON = "nearly the same as another document"


@dataclass(frozen=True)
class NearDuplicates:
    """Of documents that are nearly the same, keep one.

    shingle    what a text is a set of: "words", "characters" (letters of any script, one after the other), or "auto",
               which takes characters where most letters are of a script without spaces. Words are never compared with
               characters
    size       so many of them in a row
    bands      two documents are candidates if all `rows` MinHashes of one of the bands agree, which at a Jaccard
    rows       similarity of J happens with probability 1 - (1 - J**rows)**bands: 0.92 at 0.8, 0.08 at 0.5
    threshold  candidates are duplicates from this Jaccard similarity of their sets of shingles on; it is computed, not
               estimated, for sets of up to 65,536 shingles
    within     compare documents of the same collection
    across     compare documents of different ones: "all", "none", or pairs (first, second) of collections where
               documents of the second are dropped for those of the first
    prefer     collections whose documents stay, most wanted first, before any others

    Duplicates of duplicates are one cluster. In its order (collections in `prefer`, then the longest text, then the
    earliest document) a document is dropped if one before it stays that it may be dropped for, and the first such is
    `duplicate_of`. `jaccard` is the similarity to that one, which along a chain can be below the threshold; `cluster`
    is how many documents the cluster has.

    No bucket of candidates is gone through quadratically. It is sorted by the bands that follow (Bawa et al. 2005: LSH
    Forest), and each document is compared with the 8 before it and the first 2; of equal ones, with the first alone.
    Source: Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3.
    """

    shingle: Kind = "auto"
    size: int = 5
    bands: int = 14
    rows: int = 8
    threshold: float = 0.8
    within: bool = True
    across: Literal["all", "none"] | tuple[tuple[str, str], ...] = "all"
    prefer: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.shingle not in ("auto", "words", "characters"):
            raise ValueError(f'shingle={self.shingle!r} is not "auto", "words" or "characters".')
        for name in ("size", "bands", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is a similarity above 0 and up to 1, such as 0.8, not {self.threshold}.")
        check_across(self.across, self.prefer)
        if not self.within and self.across in ("none", ()):
            raise ValueError('with within=False and across="none" nothing is compared; set one of them.')

    def scan(self, documents: Sequence[Document], first: int) -> Arrays:
        """Each document's band keys and shingle hashes. Raises ValueError where numba is missing."""
        found = sketch(
            [document.text for document in documents],
            shingle=self.shingle,
            size=self.size,
            bands=self.bands,
            rows=self.rows,
        )
        return {
            **scanned_places(documents, first),
            "keys": found.keys,
            "hashes": found.hashes,
            "counts": found.counts.astype(np.uint32),
            "limits": found.limits,
            "lengths": np.array([len(document.text) for document in documents], np.uint32),
        }

    def decide(self, scans: Iterable[Arrays], out: Path, *, memory: int, scratch: Path) -> Mapping[str, Fact]:
        """Find candidates, compare them, make clusters, choose what stays."""
        from ensue.text.duplicates.deciding import Clustering

        clustering = Clustering(scratch, memory=memory, threshold=self.threshold)
        clustering.read(scans, apart=self.across == "none")
        names = clustering.places.codes.names
        ranks = in_order(names, self.across, self.prefer)
        rank_of = {name: rank for rank, group in enumerate(ranks) for name in group}
        drops = dropping(names, self.within, self.across)
        return clustering.write(out, drops, np.array([rank_of[name] for name in names], np.uint64))

    def prepare(self, out: Path, first: int, last: int) -> NumberedJudge:
        """The judge of these documents: drops what `decide` wrote down."""
        dropped = dict(read_dropped(out, first, last, FACTS))

        def judge(number: int, document: Document) -> Verdict:
            found = dropped.get(number)
            if found is None:
                return keep(document)
            facts = {"jaccard": round(float(found["jaccard"]), 4), "cluster": int(found["cluster"])}
            return drop(REASON, duplicate_of=found["duplicate_of"].decode(), **facts)

        return judge


class Bands(TypedDict):
    """The settings of `NearDuplicates` that say who is compared."""

    size: int
    bands: int
    rows: int


GPT3_BANDS: Bands = {"size": 1, "bands": 10, "rows": 1}
"""GPT-3's 10 hashes; see `gpt3_near_duplicates`."""


def gpt3_near_duplicates(*, threshold: float = 0.8, prefer: tuple[str, ...] = ()) -> NearDuplicates:
    """GPT-3's fuzzy deduplication (Brown et al. 2020, appendix A): Spark's MinHashLSH with 10 hashes, within each set,
    and WebText removed from Common Crawl; call these collections "webtext" and "commoncrawl".

    In Spark each of the 10 hashes is a table of its own, and one that agrees makes a candidate: 10 bands of 1 row.
    The features were those of the paper's quality filter, which are single words: size 1. The threshold was not
    published; 0.8 is ours.
    """
    pairs = (("webtext", "commoncrawl"),)
    return NearDuplicates(**GPT3_BANDS, threshold=threshold, across=pairs, prefer=prefer)
