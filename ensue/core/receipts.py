"""Receipts: for each step one row of what went in and what came out, chained so that no row can be changed alone.

A row holds only what a replay gives again, so two runs of the same config on the same machine have the same rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ensue.core.run import append_row, forget_rows_after, read_rows

START = "0" * 32
"""What the first row follows."""

CHAIN, LEAF = "chain", "leaf"


def link(before: str, row: Mapping[str, Any]) -> str:
    """The hash of a row and of all rows before it, of which `before` is the last one's."""
    text = json.dumps(row, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()[:32]


class Receipts:
    """The file receipts.jsonl of a run, and the hash of its newest row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head = head_of(read_rows(path))

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row, which follows all before it."""
        self.head = link(self.head, row)
        append_row(self.path, {**row, CHAIN: self.head})

    def add_leaf(self, row: Mapping[str, Any], on: str) -> None:
        """Append a row about an earlier step, whose newest row's hash is `on`; no later row follows it."""
        append_row(self.path, {**row, "on": on, LEAF: link(on, row)})

    def forget_after(self, step: int) -> None:
        """Drop the rows of steps that will be run again."""
        self.head = head_of(forget_rows_after(self.path, step))


def head_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """The hash of the newest row that others may follow."""
    return next((str(row[CHAIN]) for row in reversed(rows) if CHAIN in row), START)


def first_broken(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The step of the first row that was changed, or before which one was taken out or put in; None where all hold."""
    head = START
    for row in rows:
        key = CHAIN if CHAIN in row else LEAF
        plain = {name: value for name, value in row.items() if name not in (CHAIN, LEAF, "on")}
        if link(head if key == CHAIN else str(row.get("on")), plain) != row.get(key):
            return int(row["step"])
        if key == CHAIN:
            head = str(row[CHAIN])
    return None
