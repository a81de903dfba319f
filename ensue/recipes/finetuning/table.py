"""A table of labelled examples from a file: JSON lines, CSV, TSV or Parquet, each row by the names of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.evaluate.rows import read_rows, show_row
from ensue.evaluate.splits import ENDINGS, PACKED, Split
from ensue.evaluate.task import Files


@dataclass(frozen=True)
class Row:
    """One row of a file, counted from 1, by column."""

    file: str
    number: int
    values: Mapping[str, Any]

    @property
    def source(self) -> str:
        return f"{self.file}:{self.number}"


@dataclass(frozen=True)
class Table:
    """All rows of a file, and the names of its columns in the order in which they first come."""

    file: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def shown(self) -> str:
        """Its columns and its first row, for a message."""
        return f"its columns are {', '.join(self.columns)}, and its first row is\n  {show_row(self.rows[0].values)}"


def read_table(path: Path) -> Table:
    """Raises FileNotFoundError where there is no file, and ValueError for one that is not such a table, or is empty."""
    endings = tuple(ending + packed for ending in ENDINGS for packed in PACKED)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file of examples. {_endings()}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the spelling.")
    if not path.name.endswith(endings):
        raise ValueError(f"{path} is not a kind of table that is read. {_endings()}")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; give a file of labelled examples.")
    found = read_rows(Split(path.name, (path,)), Files(test=path.name))
    rows = tuple(Row(str(path), number, values) for number, values in enumerate(found, start=1))
    return Table(str(path), tuple(dict.fromkeys(name for row in rows for name in row.values)), rows)


def _endings() -> str:
    return f"They end in {', '.join(ENDINGS)}, and .gz or .zst may stand behind."
