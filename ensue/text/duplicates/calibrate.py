"""How well near-duplicates are found in someone's own documents: copies of known similarity are planted and sought."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ensue.core.seeds import seed_for
from ensue.text.document import Document
from ensue.text.duplicates.hashing import CHARACTERS
from ensue.text.duplicates.near import NearDuplicates
from ensue.text.duplicates.plain_shingles import plain_kind
from ensue.text.duplicates.shingles import Sketches, sketch

CHANGES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
CUTS = (0.02, 0.05, 0.1, 0.2, 0.3)
BIN_WIDTH = 0.05


@dataclass(frozen=True)
class Bin:
    """Planted pairs whose true Jaccard similarity is in [low, high).

    pairs     how many there are
    mean      their mean similarity
    found     of them, pairs that share a bucket, and so are compared
    expected  how many the theory expects: the sum of 1 - (1 - J**rows)**bands
    """

    low: float
    high: float
    pairs: int
    mean: float
    found: int
    expected: float

    @property
    def recall(self) -> float:
        """The share found."""
        return self.found / self.pairs


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` measured.

    documents      originals in the sample
    planted        changed copies beside them
    bins           recall by true similarity, in ascending order
    wanted         planted pairs at or above the threshold;  found: of them, those that share a bucket
    candidates     planted pairs below the threshold that share a bucket all the same, and have to be compared
    dropped        documents that the step drops from originals and copies together
    false_merges   of them, those less alike than the threshold to the document that stays, which chains bring about
    natural        originals that the step drops of the sample before anything is planted
    """

    step: NearDuplicates
    documents: int
    planted: int
    bins: tuple[Bin, ...]
    wanted: int
    found: int
    candidates: int
    dropped: int
    false_merges: int
    natural: int

    @property
    def recall(self) -> float:
        """The share of planted pairs at or above the threshold that share a bucket; 1 if there are none."""
        return self.found / self.wanted if self.wanted else 1.0


def calibrate(
    documents: Iterable[Document],
    step: NearDuplicates | None = None,
    *,
    sample: int = 1000,
    changes: Sequence[float] = CHANGES,
    cuts: Sequence[float] = CUTS,
    seed: int = 0,
) -> Calibration:
    """Plant copies of the first `sample` documents, one for each rate, and measure which of them `step` finds.

    changes  shares of words to replace by others of the sample (of characters, where a script has no spaces)
    cuts     shares of the text to leave out in one piece

    Similarity is that of the whole shingle sets. Raises ValueError if there are no documents with letters, or numba is
    missing.
    """
    step = step or NearDuplicates()
    originals = [document for document in islice(documents, sample) if document.text.strip()]
    if not originals:
        raise ValueError("there is nothing to calibrate with: the documents are empty; name a folder with text.")
    generator = random.Random(seed_for(seed, "calibrate"))
    pool = _Pool(originals, generator)
    pairs = [
        (row, text)
        for row, document in enumerate(originals)
        for text in (
            *(pool.changed(document.text, rate) for rate in changes),
            *(pool.cut(document.text, rate) for rate in cuts),
        )
    ]
    copies = [Document.of(text, f"planted/{place}") for place, (_, text) in enumerate(pairs)]
    left = _sketched(step, originals)
    right = _sketched(step, copies)
    rows = np.array([row for row, _ in pairs])
    similarity = _similarity(left, rows, right)
    found = (left.keys[rows] == right.keys).any(axis=1)
    expected = 1 - (1 - similarity**step.rows) ** step.bands
    alike = similarity >= step.threshold
    dropped = _dropped(step, [*originals, *copies])
    return Calibration(
        step=step,
        documents=len(originals),
        planted=len(copies),
        bins=_bins(similarity, found, expected),
        wanted=int(alike.sum()),
        found=int((alike & found).sum()),
        candidates=int((~alike & found).sum()),
        dropped=len(dropped),
        false_merges=sum(jaccard < step.threshold for jaccard in dropped),
        natural=len(_dropped(step, originals)),
    )


class _Pool:
    """Makes changed copies of texts, with words and characters of the whole sample."""

    def __init__(self, documents: Sequence[Document], generator: random.Random) -> None:
        self._generator = generator
        spaced = [document.text for document in documents if plain_kind(document.text[:2000]) != CHARACTERS]
        others = [document.text for document in documents if plain_kind(document.text[:2000]) == CHARACTERS]
        self._words = [word for text in spaced for word in text.split()[:200]] or ["word"]
        self._characters = [letter for text in others for letter in text[:200] if letter.isalpha()] or ["字"]

    def changed(self, text: str, rate: float) -> str:
        """The text with a share of its words or characters replaced, one at least."""
        pieces, between, pool = self._pieces(text)
        places = self._generator.sample(range(len(pieces)), min(len(pieces), max(1, round(rate * len(pieces)))))
        for place in places:
            pieces[place] = self._generator.choice(pool)
        return between.join(pieces)

    def cut(self, text: str, rate: float) -> str:
        """The text without a run of its words or characters."""
        pieces, between, _ = self._pieces(text)
        length = min(len(pieces) - 1, max(1, round(rate * len(pieces))))
        first = self._generator.randrange(len(pieces) - length + 1)
        return between.join(pieces[:first] + pieces[first + length :])

    def _pieces(self, text: str) -> tuple[list[str], str, list[str]]:
        if plain_kind(text[:2000]) == CHARACTERS:
            return list(text), "", self._characters
        return text.split(), " ", self._words


def _sketched(step: NearDuplicates, documents: Sequence[Document]) -> Sketches:
    texts = [document.text for document in documents]
    return sketch(texts, shingle=step.shingle, size=step.size, bands=step.bands, rows=step.rows)


def _similarity(left: Sketches, rows: np.ndarray, right: Sketches) -> np.ndarray:
    """(n,) Jaccard similarity of the left side's documents `rows` and the right side's, in order."""
    from ensue.text.duplicates import cluster_kernels

    ends = np.cumsum(left.counts)[rows], np.cumsum(right.counts) + len(left.hashes)
    starts = ends[0] - left.counts[rows], ends[1] - right.counts
    limits = np.stack([left.limits[rows], right.limits], axis=1)
    found = np.empty(len(rows), np.float64)
    hashes = np.concatenate([left.hashes, right.hashes])
    cluster_kernels.jaccard(hashes, np.stack(starts, axis=1), np.stack(ends, axis=1), limits, found)
    return found


def _bins(similarity: np.ndarray, found: np.ndarray, expected: np.ndarray) -> tuple[Bin, ...]:
    count = round(1 / BIN_WIDTH)
    which = np.minimum((similarity * count + 1e-9).astype(np.int64), count - 1)
    return tuple(
        Bin(
            low=round(index * BIN_WIDTH, 4),
            high=round((index + 1) * BIN_WIDTH, 4),
            pairs=int((which == index).sum()),
            mean=float(similarity[which == index].mean()),
            found=int(found[which == index].sum()),
            expected=float(expected[which == index].sum()),
        )
        for index in np.unique(which).tolist()
    )


def _dropped(step: NearDuplicates, documents: Sequence[Document]) -> list[float]:
    """The similarity of each document that `step` drops to the one it is dropped for."""
    with tempfile.TemporaryDirectory(prefix="ensue-") as folder:
        out, scratch = Path(folder) / "out", Path(folder) / "scratch"
        out.mkdir()
        scratch.mkdir()
        step.decide([step.scan(documents, 0)], out, memory=1 << 30, scratch=scratch)
        judge = step.prepare(out, 0, len(documents))
        verdicts = [judge(number, document) for number, document in enumerate(documents)]
    return [float(verdict.facts["jaccard"]) for verdict in verdicts if not verdict.documents]
