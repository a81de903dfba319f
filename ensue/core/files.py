"""Files and folders that exist whole or not at all, and checksums that say which file was changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKSUMS = "checksums.json"


@contextmanager
def folder_aside(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; rename it to `target` if the block succeeds, remove it if it does not.

    A reader sees the old folder or the new one, never half of either. An existing `target` is replaced. Raises whatever
    the block raises (OSError for a full disk), with `target` untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.writing-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        for path in [*aside.rglob("*"), aside]:
            _flush_to_disk(path)
        _move(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _flush_to_disk(target.parent)


def write_file_aside(path: Path, text: str) -> None:
    """Replace a text file in one move, so that no reader and no crash ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        _flush_to_disk(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Record the SHA-256 of every file in `folder` in its `checksums.json`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    sums = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")


def verify_checksums(folder: Path) -> None:
    """Raise ValueError naming the first file of `folder` that is missing or not what was written.

    A folder without `checksums.json` (one that Ensue did not write) passes.
    """
    record = folder / CHECKSUMS
    if not record.exists():
        return
    try:
        sums = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{record} is damaged ({error}); use another checkpoint of the run.") from error
    if not isinstance(sums, dict):
        raise ValueError(f"{record} is damaged (it holds no names); use another checkpoint of the run.")
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path} is missing; use another checkpoint of the run.")
        if sha256_of(path) != expected:
            raise ValueError(
                f"{path} is not the file that was written: its SHA-256 differs from the one in {CHECKSUMS} "
                "(truncated or changed). Use another checkpoint of the run, or copy this one again."
            )


def _move(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`; what was at `target` is put back if that fails, and removed if it does not."""
    if not target.exists():
        os.rename(aside, target)
        return
    replaced = target.with_name(f".{target.name}.replaced-{os.getpid()}")
    shutil.rmtree(replaced, ignore_errors=True)
    os.rename(target, replaced)
    try:
        os.rename(aside, target)
    except BaseException:
        os.rename(replaced, target)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
