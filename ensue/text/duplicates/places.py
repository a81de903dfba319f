"""The documents that were scanned, by their place in the corpus: number, id and collection, kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ensue.text.curation.step import Arrays
from ensue.text.document import Document
from ensue.text.duplicates.comparing import CollectionCodes
from ensue.text.duplicates.disk_array import DiskArray
from ensue.text.duplicates.dropped import ID_BYTES, packed_ids

PROCESS_BYTES = 360 << 20
"""What a process that decides takes before it holds anything: libraries, what compiles them, and one part's scan."""


def room_in(memory: int) -> int:
    """Bytes for each of the few things that deciding holds at once, of the `memory` that its process may take."""
    return max(1 << 20, (memory - PROCESS_BYTES) // 6)


def scanned_places(documents: Sequence[Document], first: int) -> dict[str, np.ndarray]:
    """What `Places` needs of each part."""
    return {
        "first": np.array([first], np.int64),
        "ids": packed_ids([document.id for document in documents]),
        "collections": np.array([document.meta.get("collection", "") for document in documents], np.str_),
    }


class Places:
    """Documents by place, as scans come in; `open` when all are in."""

    def __init__(self, folder: Path, *, room: int) -> None:
        self._numbers = DiskArray(folder / "numbers", np.int64, room=room)
        self._ids = DiskArray(folder / "ids", f"S{ID_BYTES}", room=room)
        self.collections = DiskArray(folder / "collections", np.uint16, room=room)
        self.codes = CollectionCodes()

    @property
    def count(self) -> int:
        """Of documents so far."""
        return self._numbers.count

    def add(self, scan: Arrays) -> np.ndarray:
        """Take one part's documents, and return their places with their collections, as `cluster_kernels` has them."""
        codes, before = self.codes.of(scan["collections"]), self.count
        size = len(scan["ids"])
        self._numbers.append(scan["first"][0] + np.arange(size))
        self._ids.append(scan["ids"])
        self.collections.append(codes)
        return np.arange(before, before + size, dtype=np.uint64) | (codes.astype(np.uint64) << np.uint64(48))

    def open(self) -> None:
        """All documents are in."""
        for array in (self._numbers, self._ids, self.collections):
            array.open()

    def numbers(self, indices: np.ndarray) -> np.ndarray:
        """Of documents by index."""
        return self._numbers.take(indices)

    def ids(self, indices: np.ndarray) -> np.ndarray:
        """Of documents by index."""
        return self._ids.take(indices)
