"""An array in a file, of which no more is in memory than is being worked on."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

PAGES_A_TOUCH = 1 << 16
"""Bytes that the system brings into memory, at most, for one place that is read."""


class DiskArray:
    """A one-dimensional array that is appended to, then opened and used through the file system's own pages.

    Pages count as this process' memory while they are mapped, so whoever goes through more than `room` bytes of them
    calls `release` on the way. Nothing is lost by it: changed pages go to the file.
    """

    def __init__(self, path: Path, dtype: Any, *, room: int) -> None:
        self._path, self.dtype, self.room = path, np.dtype(dtype), room
        self._writing: BinaryIO | None = path.open("wb")
        self._map: mmap.mmap | None = None
        self.count = 0
        self.array = np.empty(0, self.dtype)

    def append(self, values: np.ndarray) -> None:
        """Put values at the end, before `open`. Raises OSError when the disk is full."""
        assert self._writing is not None
        self._writing.write(np.ascontiguousarray(values, self.dtype).data)
        self.count += len(values)

    def open(self) -> DiskArray:
        """End appending; from now on `array` is all of it, and can be written to."""
        assert self._writing is not None
        self._writing.close()
        self._writing = None
        if self.count:
            with self._path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), 0)
            self.array = np.frombuffer(self._map, self.dtype)
        return self

    @property
    def fits(self) -> bool:
        """Whether all of it may be in memory at once."""
        return self.array.nbytes <= self.room

    @property
    def touches(self) -> int:
        """How many places far from each other may be used between two calls of `release`."""
        return max(1, self.count if self.fits else self.room // PAGES_A_TOUCH)

    def release(self) -> None:
        """Let go of the pages, if they are more than may stay."""
        if self._map is not None and not self.fits and sys.platform == "linux":
            self._map.madvise(mmap.MADV_DONTNEED)

    def take(self, places: np.ndarray) -> np.ndarray:
        """The values at (n,) places, in any order."""
        if self.fits:
            return np.asarray(self.array[places])
        values = np.empty(len(places), self.dtype)
        for first in range(0, len(places), self.touches):
            values[first : first + self.touches] = self.array[places[first : first + self.touches]]
            self.release()
        return values

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """From end to end: where a block begins, and the block itself, to be read or written."""
        length = max(1, self.room // self.dtype.itemsize)
        for first in range(0, self.count, length):
            yield first, self.array[first : first + length]
            self.release()
