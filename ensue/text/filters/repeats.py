"""How much of a text is in n-grams that come again, exactly: n-grams are numbered, not hashed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Repeats:
    """The n-grams of some words. Those of n words are numbered from those of n - 1, so ask for ascending n."""

    def __init__(self, words: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        self._words = np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), np.int64, len(words))
        self._lengths = np.fromiter(map(len, words), np.int64, len(words))
        self._kinds = max(len(numbers), 1)
        self._characters = int(self._lengths.sum())
        self._n, self._grams = 1, self._words

    def top(self, n: int) -> float:
        """The share of characters covered by the n-gram that is there most often, if it is there more than once."""
        grams = self._of(n)
        if not len(grams):
            return 0.0
        counts = np.bincount(grams)
        most = int(counts.max())
        if most < 2:
            return 0.0
        return max(self._share(grams == gram, n) for gram in np.flatnonzero(counts == most)[:SAME_COUNT])

    def again(self, n: int) -> float:
        """The share of characters covered by n-grams that were there before."""
        grams = self._of(n)
        if not len(grams):
            return 0.0
        first = np.ones(len(grams), bool)
        first[np.unique(grams, return_index=True)[1]] = False
        return self._share(first, n)

    def _of(self, n: int) -> np.ndarray:
        """The number of the n-gram that begins at each place; equal n-grams have equal numbers."""
        if n < self._n:
            self._n, self._grams = 1, self._words
        while self._n < n and len(self._grams) > 1:
            pairs = self._grams[:-1] * self._kinds + self._words[self._n :]
            self._grams = np.unique(pairs, return_inverse=True)[1]
            self._n += 1
        return self._grams if self._n == n else self._grams[:0]

    def _share(self, starts: np.ndarray, n: int) -> float:
        """The share of characters in n-grams that begin where `starts` says so."""
        edges = np.zeros(len(self._lengths) + 1, np.int64)
        edges[: len(starts)] += starts
        edges[n : n + len(starts)] -= starts
        covered = np.cumsum(edges[:-1]) > 0
        return int(self._lengths[covered].sum()) / max(self._characters, 1)


SAME_COUNT = 50
"""Of n-grams that are there equally often, so many are compared; what is said often has few equals."""
