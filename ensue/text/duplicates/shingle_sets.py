"""All documents' shingle sets, one after the other in a file, and the similarity of pairs of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from ensue.text.duplicates.disk_array import PAGES_A_TOUCH, DiskArray


class ShingleSets:
    """Sets by the index of their document, appended, then opened."""

    def __init__(self, folder: Path, *, room: int) -> None:
        self._hashes = DiskArray(folder / "hashes", np.uint32, room=room)
        self._ends = DiskArray(folder / "ends", np.int64, room=room // 4)
        self._limits = DiskArray(folder / "limits", np.uint32, room=room // 4)
        self._ends.append(np.zeros(1, np.int64))

    def add(self, hashes: np.ndarray, counts: np.ndarray, limits: np.ndarray) -> None:
        """One part's sets; see `Sketches`."""
        self._ends.append(self._hashes.count + np.cumsum(counts, dtype=np.int64))
        self._hashes.append(hashes)
        self._limits.append(limits)

    def open(self) -> None:
        """All sets are in."""
        for array in (self._hashes, self._ends, self._limits):
            array.open()

    def jaccard(self, pairs: np.ndarray) -> np.ndarray:
        """(n,) float64 Jaccard similarities of (n, 2) int64 pairs of indices."""
        from ensue.text.duplicates import cluster_kernels

        starts, stops, limits = (
            array.take(places.ravel()).reshape(-1, 2)
            for array, places in ((self._ends, pairs), (self._ends, pairs + 1), (self._limits, pairs))
        )
        found = np.empty(len(pairs), np.float64)
        for first, last in self._together(stops - starts):
            some = slice(first, last)
            cluster_kernels.jaccard(self._hashes.array, starts[some], stops[some], limits[some], found[some])
            self._hashes.release()
        return found

    def _together(self, lengths: np.ndarray) -> list[tuple[int, int]]:
        """Pairs cut into spans of which all sets may be in memory at once."""
        if self._hashes.fits:
            return [(0, len(lengths))]
        bytes_by_pair = (self._hashes.dtype.itemsize * lengths + PAGES_A_TOUCH).sum(axis=1)
        span = np.cumsum(bytes_by_pair) // self._hashes.room
        edges = [0, *(np.flatnonzero(np.diff(span)) + 1).tolist(), len(lengths)]
        return list(pairwise(edges))
