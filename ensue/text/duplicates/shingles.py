"""Texts as sets of shingle hashes, to compare them by Jaccard similarity, and as band keys, to find whom to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ensue.text.duplicates.hashing import CHARACTERS, WORDS, permutations
from ensue.text.duplicates.letters import letters

Kind = Literal["auto", "words", "characters"]

WHOLE_SETS = 1 << 16
"""Hashes kept of a document. Of longer ones the least are kept, a fair sample: of two of them, Jaccard's standard error
is below 0.002."""

LONG_TEXT = 1 << 20
"""Bytes from which on not even all hashes are written down, but about as many as so long a text has."""

ALL = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class Sketches:
    """D documents as hashes.

    keys     (D, bands) uint64: two documents are candidates if they agree in a column; kinds never agree
    hashes   the documents' shingle hashes, uint32, each document's ascending and without repeats
    counts   (D,) int64: how many each has; 0 for a document without letters, which is like no other
    limits   (D,) uint32: `hashes` has all of a document's that are not larger
    """

    keys: np.ndarray
    hashes: np.ndarray
    counts: np.ndarray
    limits: np.ndarray


def sketch(texts: Sequence[str], *, shingle: Kind = "auto", size: int = 5, bands: int = 14, rows: int = 8) -> Sketches:
    """MinHash (Broder 1997) with `bands` keys of `rows` minima each, of shingles of `size` words or characters.

    A word is a run of letters and digits, where everything beyond ASCII but punctuation is a letter; ASCII is compared
    in lower case. Characters are such letters, whatever stands between them. "auto" takes characters for a text most of
    whose letters are of scripts without spaces. A text with fewer units than `size` is one shingle. Raises ValueError
    where numba is missing.
    """
    kernels = _kernels()
    if not texts:
        return Sketches(
            np.empty((0, bands), np.uint64), np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.uint32)
        )
    pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
    sizes = np.array([len(piece) for piece in pieces], np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    joined = np.frombuffer(b"".join([*pieces, b" "]), np.uint8)
    kinds = np.array([_kind(text, shingle, joined, *starts[row : row + 2]) for row, text in enumerate(texts)], np.uint8)
    limits = np.full(len(texts), ALL)
    long = sizes > LONG_TEXT
    limits[long] = (float(ALL) * LONG_TEXT / sizes[long]).astype(np.uint32)
    room = np.minimum(np.where(kinds == WORDS, sizes // 2, sizes) + 1, LONG_TEXT)
    a, b = permutations(bands * rows)
    keys, ends = np.empty((len(texts), bands), np.uint64), np.empty(len(texts), np.int64)
    hashes = np.empty(int(room.sum()), np.uint32)
    tables = letters()
    kernels.sketch(
        joined, starts, kinds, limits, size, rows, (tables.of_byte, tables.sign), a, b, keys, hashes, ends, room
    )
    total = int(ends[-1])
    return _shortened(keys, hashes[:total].copy(), np.diff(ends, prepend=0), limits)


def _kind(text: str, shingle: Kind, joined: np.ndarray, start: int, stop: int) -> int:
    """What is to be compared of a text: characters if they are most of its letters, or if that is asked."""
    if shingle != "auto":
        return CHARACTERS if shingle == "characters" else WORDS
    if text.isascii():
        return WORDS
    tables = letters()
    inside, outside = _kernels().unspaced_letters(joined, start, stop, tables.unspaced, tables.of_byte, tables.sign)
    return CHARACTERS if inside > outside else WORDS


def _shortened(keys: np.ndarray, hashes: np.ndarray, counts: np.ndarray, limits: np.ndarray) -> Sketches:
    """The sketches with no set longer than WHOLE_SETS."""
    long = np.flatnonzero(counts > WHOLE_SETS)
    if not len(long):
        return Sketches(keys, hashes, counts, limits)
    starts = np.cumsum(counts) - counts
    kept = np.ones(len(hashes), np.bool_)
    for row in long:
        kept[starts[row] + WHOLE_SETS : starts[row] + counts[row]] = False
        limits[row] = hashes[starts[row] + WHOLE_SETS - 1]
    return Sketches(keys, hashes[kept], np.minimum(counts, WHOLE_SETS), limits)


def _kernels() -> Any:
    try:
        from ensue.text.duplicates import shingle_kernels
    except ImportError as error:
        raise ValueError("finding near-duplicates needs numba; type: pip install 'ensue[corpus]'") from error
    return shingle_kernels
