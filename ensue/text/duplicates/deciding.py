"""Near-duplicates decided in bounded memory: sorted buckets give pairs, sorted pairs are compared, clusters are chosen
from. Whatever does not fit lies in files. Importing it needs numba."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ensue.text.curation.step import Arrays, Fact
from ensue.text.duplicates import cluster_kernels
from ensue.text.duplicates.disk_array import DiskArray
from ensue.text.duplicates.dropped import DroppedWriter
from ensue.text.duplicates.external_sort import ExternalSort
from ensue.text.duplicates.near import FACTS
from ensue.text.duplicates.places import Places, room_in
from ensue.text.duplicates.shingle_sets import ShingleSets

RECENT, FIRSTS = 8, 2
"""In a bucket, a document is compared with so many before it, and with so many of the first."""

PAIR_BYTES = 64
"""What a candidate pair takes on its way: written, taken apart by set, compared."""


class Clustering:
    """One decision: `read` the scans, then `write` what is dropped. Its files are in `scratch`."""

    def __init__(self, scratch: Path, *, memory: int, threshold: float) -> None:
        self._scratch, self._threshold = scratch, threshold
        self._room = room_in(memory)
        self.places = Places(scratch, room=self._room // 4)
        self._lengths = DiskArray(scratch / "lengths", np.uint32, room=self._room // 4)
        self._sets = ShingleSets(scratch, room=self._room)
        self._buckets = ExternalSort(scratch / "buckets", columns=3, memory=self._room)
        self._figures = {"pairs_compared": 0, "pairs_alike": 0}

    def read(self, scans: Iterable[Arrays], *, apart: bool) -> None:
        """All parts' scans, in order; with `apart`, collections have buckets of their own."""
        for scan in scans:
            places = self.places.add(scan)
            self._lengths.append(scan["lengths"])
            self._sets.add(scan["hashes"], scan["counts"], scan["limits"])
            collections = places >> np.uint64(cluster_kernels.PLACE_BITS)
            kept = np.flatnonzero(scan["counts"])
            keys = scan["keys"][kept]
            salt = collections[kept] * np.uint64(0x9E3779B97F4A7C15) if apart else np.uint64(0)
            for band in range(keys.shape[1]):
                self._buckets.add(np.stack([keys[:, band] ^ salt, _tie(keys, band), places[kept]], axis=1))
        self.places.open()
        self._lengths.open()
        self._sets.open()

    def write(self, out: Path, drops: np.ndarray, ranks: np.ndarray) -> Mapping[str, Fact]:
        """Compare, cluster and choose; `drops` (C, C) says whose documents are dropped for whose, `ranks` (C,) what
        stays first. Returns figures."""
        pairs = ExternalSort(self._scratch / "pairs", columns=2, memory=self._room, unique=True)
        for found in self._candidates(drops | drops.T):
            pairs.add(found)
        parent = DiskArray(self._scratch / "parent", np.int64, room=self._room)
        sizes = DiskArray(self._scratch / "sizes", np.uint32, room=self._room // 2)
        for first in range(0, self.places.count, 1 << 18):
            indices = np.arange(first, min(first + (1 << 18), self.places.count))
            parent.append(indices)
            sizes.append(np.zeros(len(indices), np.uint32))
        parent.open()
        sizes.open()
        for block in pairs.sorted_blocks():
            self._join_alike(block, parent)
        for first, block in parent.blocks():
            for start in range(first, first + len(block), sizes.touches):
                stop = min(first + len(block), start + sizes.touches)
                cluster_kernels.flatten(parent.array, sizes.array, start, stop)
                sizes.release()
                parent.release()
        members = self._members(parent, sizes, ranks)
        self._write_dropped(self._chosen(members, drops), sizes, out)
        clusters = [int((block > 0).sum()) for _, block in sizes.blocks()]
        largest = [int(block.max()) + 1 for _, block in sizes.blocks()]
        return {
            "documents": self.places.count,
            **self._figures,
            "clusters": sum(clusters),
            "largest_cluster": max(largest, default=0) if sum(clusters) else 0,
        }

    def _candidates(self, comparable: np.ndarray) -> Iterator[np.ndarray]:
        """Pairs of documents that share a bucket, with repeats."""
        state = np.zeros(4, np.uint64)
        recent, firsts = np.zeros(RECENT, np.uint64), np.zeros(FIRSTS, np.uint64)
        same = np.zeros(len(comparable), np.uint64)
        step = max(1, self._room // (PAIR_BYTES * (RECENT + FIRSTS)))
        for block in self._buckets.sorted_blocks():
            for first in range(0, len(block), step):
                rows = block[first : first + step]
                out = np.empty((len(rows) * (RECENT + FIRSTS), 2), np.uint64)
                yield out[: cluster_kernels.pair_up(rows, comparable, state, recent, firsts, same, out)]

    def _join_alike(self, pairs: np.ndarray, parent: DiskArray) -> None:
        """Compare pairs, and put those that are alike into one tree."""
        step = max(1, self._room // PAIR_BYTES)
        for first in range(0, len(pairs), step):
            some = pairs[first : first + step].astype(np.int64)
            alike = some[self._sets.jaccard(some) >= self._threshold]
            self._figures["pairs_compared"] += len(some)
            self._figures["pairs_alike"] += len(alike)
            for start in range(0, len(alike), max(1, parent.touches // 4)):
                cluster_kernels.join(parent.array, alike[start : start + max(1, parent.touches // 4)])
                parent.release()

    def _members(self, parent: DiskArray, sizes: DiskArray, ranks: np.ndarray) -> ExternalSort:
        """Rows (root, rank, longest first, place) of all documents in clusters."""
        members = ExternalSort(self._scratch / "members", columns=4, memory=self._room)
        step = max(1, self._room // (PAIR_BYTES * 2))
        for first in range(0, parent.count, step):
            stop = min(first + step, parent.count)
            indices = np.arange(first, stop)
            inside = (parent.array[first:stop] != indices) | (sizes.array[first:stop] > 0)
            indices, roots = indices[inside], parent.array[first:stop][inside]
            collections = self.places.collections.array[first:stop][inside].astype(np.uint64)
            shortness = np.uint64(1 << 32) - self._lengths.array[first:stop][inside].astype(np.uint64)
            places = indices.astype(np.uint64) | (collections << np.uint64(cluster_kernels.PLACE_BITS))
            members.add(np.stack([roots.astype(np.uint64), ranks[collections], shortness, places], axis=1))
            for array in (parent, sizes, self.places.collections, self._lengths):
                array.release()
        return members

    def _chosen(self, members: ExternalSort, drops: np.ndarray) -> Iterator[np.ndarray]:
        """Rows (dropped index, kept index, root), cluster by cluster."""
        state, kept = np.zeros(3, np.uint64), np.zeros((2, len(drops)), np.uint64)
        for block in members.sorted_blocks():
            out = np.empty((len(block), 3), np.uint64)
            yield out[: cluster_kernels.choose(block, drops, state, kept, out)]

    def _write_dropped(self, chosen: Iterator[np.ndarray], sizes: DiskArray, out: Path) -> None:
        """What was chosen, in the order of the corpus, with its figures."""
        dropped = ExternalSort(self._scratch / "dropped", columns=4, memory=self._room)
        for rows in chosen:
            indices = rows.astype(np.int64)
            jaccard = self._sets.jaccard(indices[:, :2]).view(np.uint64)
            cluster = sizes.take(indices[:, 2]).astype(np.uint64) + np.uint64(1)
            dropped.add(np.column_stack([rows[:, :2], jaccard, cluster]))
        writer = DroppedWriter(out, FACTS)
        self._figures["dropped"] = 0
        for rows in dropped.sorted_blocks():
            indices = rows.astype(np.int64)
            numbers, ids = self.places.numbers(indices[:, 0]), self.places.ids(indices[:, 1])
            jaccard = np.ascontiguousarray(rows[:, 2]).view(np.float64)
            writer.write(numbers, ids, jaccard=jaccard, cluster=rows[:, 3])
            self._figures["dropped"] += len(rows)
        writer.close()


def _tie(keys: np.ndarray, band: int) -> np.ndarray:
    """(n,) uint64 by which a bucket is sorted: bits of the next bands' keys, so that those likest to each other meet,
    then bits of all keys, so that equal texts are told from others."""
    bands = keys.shape[1]
    following, second = keys[:, (band + 1) % bands], keys[:, (band + 2) % bands]
    every = np.bitwise_xor.reduce(keys * (np.uint64(2) * np.arange(bands, dtype=np.uint64) + np.uint64(1)), axis=1)
    upper = (following >> np.uint64(44)) << np.uint64(44)
    middle = (second >> np.uint64(44)) << np.uint64(24)
    return np.asarray(upper | middle | (every >> np.uint64(40)))
