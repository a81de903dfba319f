"""A file of one JSON object a line that another process appends to, read on from where it was left."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_AT_ONCE = 32 << 20
"""Bytes that are read at a time."""


@dataclass(frozen=True)
class NewRows:
    """Rows that have come, and whether the file was begun anew, so that all earlier ones are void."""

    rows: list[dict[str, Any]]
    anew: bool


class GrowingRows:
    """Reads each line once. A line that is not whole yet waits; one that is no JSON object is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._place = 0
        self._file: int | None = None

    def read(self) -> NewRows:
        """What has come since the last time. Raises FileNotFoundError where the file has gone."""
        with self.path.open("rb") as file:
            state = os.fstat(file.fileno())
            anew = self._file is not None and (state.st_ino != self._file or state.st_size < self._place)
            if anew:
                self._place = 0
            self._file = state.st_ino
            rows: list[dict[str, Any]] = []
            file.seek(self._place)
            while data := file.read(MOST_AT_ONCE):
                whole, newline, _ = data.rpartition(b"\n")
                if not newline:
                    break
                self._place += len(whole) + 1
                file.seek(self._place)
                rows.extend(row for row in map(_parse, whole.split(b"\n")) if row is not None)
            return NewRows(rows, anew)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
