"""Sorting more rows than memory holds: sorted runs on disk, merged in blocks. For any step that decides by sorting.

rows = ExternalSort(scratch / "pairs", columns=2, memory=64 << 20)
rows.add(array)                     # (N, 2) uint64, as often as needed
for block in rows.sorted_blocks():  # (n, 2) uint64 each, ascending by column 0, then 1; once
    ...
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

BYTES_A_BYTE = 5
"""What sorting a byte of rows takes: the rows as they came, together, sorted, and their order twice."""

SMALLEST_BLOCK = 1 << 15
"""Bytes that are read of a run at once at least; where that is too much for all runs, they are merged in turns."""


class ExternalSort:
    """Rows of `columns` uint64 in ascending order by the first column, then the next, in about `memory` bytes.

    With `unique`, equal rows come out once. What comes out depends on the rows alone. The folder must not be there yet,
    and is removed when all rows have come out.
    """

    def __init__(self, folder: Path, *, columns: int, memory: int, unique: bool = False) -> None:
        self._folder, self._columns, self._unique = folder, columns, unique
        self._run_rows = max(1, memory // (8 * columns * BYTES_A_BYTE))
        self._at_once = max(2, memory // BYTES_A_BYTE // SMALLEST_BLOCK)
        self._waiting: list[np.ndarray] = []
        self._held = self._runs = 0
        folder.mkdir(parents=True)

    def add(self, rows: np.ndarray) -> None:
        """Take (N, columns) uint64 rows. Raises OSError when the disk is full."""
        assert rows.ndim == 2
        assert rows.shape[1] == self._columns
        while len(rows):
            taken = rows[: self._run_rows - self._held]
            self._waiting.append(taken.astype(np.uint64))
            self._held += len(taken)
            rows = rows[len(taken) :]
            if self._held >= self._run_rows:
                self._write_run([self._take_waiting()])

    def sorted_blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, in blocks; with `unique` no row is in two of them."""
        if self._held and self._runs:
            self._write_run([self._take_waiting()])
        runs = list(range(self._runs))
        while len(runs) > self._at_once:
            together, runs = runs[: self._at_once], runs[self._at_once :]
            runs.append(self._write_run(self._merge(together)))
        yield from self._merge(runs) if runs else filter(len, [self._take_waiting()])
        shutil.rmtree(self._folder)

    def _take_waiting(self) -> np.ndarray:
        rows = np.concatenate(self._waiting) if self._waiting else np.empty((0, self._columns), np.uint64)
        self._waiting, self._held = [], 0
        rows = sort_rows(rows)
        return _without_repeats(rows) if self._unique else rows

    def _write_run(self, blocks: Iterator[np.ndarray] | list[np.ndarray]) -> int:
        """Write a run of rows in order, and return its number."""
        with self._path(self._runs).open("wb") as file:
            for block in blocks:
                file.write(np.ascontiguousarray(block).data)
        self._runs += 1
        return self._runs - 1

    def _merge(self, numbers: list[int]) -> Iterator[np.ndarray]:
        block_rows = max(1, self._run_rows // len(numbers))
        runs = [_Run(self._path(number), self._columns, block_rows) for number in numbers]
        last: np.ndarray | None = None
        while runs := [run for run in runs if run.fill()]:
            # Rows up to the least of the last rows at hand cannot be preceded by any that is still on disk.
            upto = min(tuple(run.rows[-1].tolist()) for run in runs)
            block = sort_rows(np.concatenate([run.take_up_to(upto) for run in runs]))
            if self._unique:
                block = _without_repeats(block, last)
                last = block[-1] if len(block) else last
            if len(block):
                yield block
        for number in numbers:
            self._path(number).unlink()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}"


class _Run:
    """A sorted run on disk, of which `rows` are at hand."""

    def __init__(self, path: Path, columns: int, block_rows: int) -> None:
        self._path, self._columns, self._block_rows, self._at = path, columns, block_rows, 0
        self.rows = np.empty((0, columns), np.uint64)

    def fill(self) -> bool:
        """Have rows at hand; False if there are no more."""
        if not len(self.rows):
            count = self._block_rows * self._columns
            read = np.fromfile(self._path, np.uint64, count, offset=8 * self._at * self._columns)
            self.rows = read.reshape(-1, self._columns)
            self._at += len(self.rows)
        return len(self.rows) > 0

    def take_up_to(self, upto: tuple[int, ...]) -> np.ndarray:
        """The rows that are not larger than `upto`, which are not at hand any more."""
        first, last = 0, len(self.rows)
        for column, value in enumerate(upto):
            found = self.rows[first:last, column]
            sought = np.uint64(value)
            first, last = (first + int(np.searchsorted(found, sought, side)) for side in ("left", "right"))
        taken, self.rows = self.rows[:last], self.rows[last:]
        return taken


def sort_rows(rows: np.ndarray) -> np.ndarray:
    """(N, columns) rows in ascending order by the first column, then the next."""
    rows = rows[np.argsort(rows[:, 0])]
    if rows.shape[1] == 1 or len(rows) < 2:
        return rows
    again = rows[1:, 0] == rows[:-1, 0]
    tied = np.concatenate([again, [False]]) | np.concatenate([[False], again])
    if tied.any():
        among = rows[tied]
        rows[tied] = among[np.lexsort(among.T[::-1])]
    return rows


def _without_repeats(rows: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Sorted rows, each once, and none that is `before`."""
    if not len(rows):
        return rows
    kept = np.ones(len(rows), np.bool_)
    kept[0] = before is None or bool((rows[0] != before).any())
    kept[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return np.asarray(rows[kept])
