"""How much of a text is in n-grams that come again, exactly: n-grams are numbered, not hashed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAME_COUNT = 50
"""Of n-grams that are there equally often, so many are compared; what is said often has few equals."""


class Repeats:
    """The n-grams of some words.

    Those of n words are found from those of n - 1 that come again, since no other can: of prose only a few are left
    after two or three words. So ask for ascending n.
    """

    def __init__(self, words: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        self._words = np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), np.int64, len(words))
        self._lengths = np.fromiter(map(len, words), np.int64, len(words))
        self._kinds = max(len(numbers), 1)
        self._characters = int(self._lengths.sum())
        self._begin()

    def top(self, n: int) -> float:
        """The share of characters covered by the n-gram that is there most often, if it is there more than once."""
        self._go_to(n)
        if not len(self._grams):
            return 0.0
        counts = np.bincount(self._grams)
        most = int(counts.max())
        if most < 2:
            return 0.0
        same = np.flatnonzero(counts == most)[:SAME_COUNT]
        return max(self._share(self._starts[self._grams == gram], n) for gram in same)

    def again(self, n: int) -> float:
        """The share of characters covered by n-grams that were there before."""
        self._go_to(n)
        first = np.unique(self._grams, return_index=True)[1]
        return self._share(np.delete(self._starts, first), n)

    def _begin(self) -> None:
        """Where n-grams start that may come again, ascending, and the number of each; equal ones have equal numbers."""
        self._n, self._starts, self._grams = 1, np.arange(len(self._words)), self._words

    def _go_to(self, n: int) -> None:
        if n < self._n:
            self._begin()
        while self._n < n and len(self._grams):
            more = np.bincount(self._grams)[self._grams] > 1
            more &= self._starts + self._n < len(self._words)
            self._starts = self._starts[more]
            pairs = self._grams[more] * self._kinds + self._words[self._starts + self._n]
            self._grams = np.unique(pairs, return_inverse=True)[1]
            self._n += 1
        self._n = n

    def _share(self, starts: np.ndarray, n: int) -> float:
        """The share of characters in the n-grams that begin at `starts`."""
        if not len(starts):
            return 0.0
        edges = np.zeros(len(self._lengths) + 1, np.int64)
        edges[starts] += 1
        edges[starts + n] -= 1
        covered = np.cumsum(edges[:-1]) > 0
        return int(self._lengths[covered].sum()) / max(self._characters, 1)
