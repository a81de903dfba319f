"""What was decided, on disk: the documents to drop, by number, each with the one it duplicates and some figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

ID_BYTES = 32
"""Of a document's id, which is 32 hexadecimal digits unless someone has ids of their own."""

NUMBERS, DETAILS = "numbers.bin", "details.bin"


class DroppedWriter:
    """Writes rows in ascending order of their numbers; `facts` are the names and types of what each has beside."""

    def __init__(self, out: Path, facts: Sequence[tuple[str, str]]) -> None:
        self._type = detail_type(facts)
        self._numbers: BinaryIO = (out / NUMBERS).open("wb")
        self._details: BinaryIO = (out / DETAILS).open("wb")

    def write(self, numbers: np.ndarray, ids: np.ndarray, **facts: np.ndarray) -> None:
        """(n,) numbers, (n,) ids of what they duplicate, and (n,) of each fact."""
        details = np.zeros(len(numbers), self._type)
        details["duplicate_of"] = ids
        for name, values in facts.items():
            details[name] = values
        self._numbers.write(numbers.astype(np.int64).tobytes())
        self._details.write(details.tobytes())

    def close(self) -> None:
        """After the last row."""
        self._numbers.close()
        self._details.close()


def read_dropped(out: Path, first: int, last: int, facts: Sequence[tuple[str, str]]) -> Iterator[tuple[int, Any]]:
    """The rows with first <= number < last, from the files, of which no more is read."""
    numbers_file = out / NUMBERS
    if not numbers_file.stat().st_size:
        return
    numbers = np.memmap(numbers_file, np.int64, "r")
    start, stop = (int(np.searchsorted(numbers, value)) for value in (first, last))
    dtype = detail_type(facts)
    details = np.fromfile(out / DETAILS, dtype, stop - start, offset=start * dtype.itemsize)
    yield from zip(numbers[start:stop].tolist(), details, strict=True)


def detail_type(facts: Sequence[tuple[str, str]]) -> np.dtype[Any]:
    """The type of a row of details."""
    return np.dtype([("duplicate_of", f"S{ID_BYTES}"), *facts])


def packed_ids(ids: Sequence[str]) -> np.ndarray:
    """(N,) ids as bytes of equal length. Raises ValueError for one that is too long."""
    packed = [id.encode() for id in ids]
    for id in packed:
        if len(id) > ID_BYTES:
            raise ValueError(
                f"the id {id.decode()!r} is longer than {ID_BYTES} bytes; ids are hashes, as Document.of has."
            )
    return np.array(packed, f"S{ID_BYTES}")
