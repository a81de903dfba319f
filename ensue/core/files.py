"""Files and folders that exist whole or not at all, and checksums that say which file was changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CHECKSUMS = "checksums.json"


class Damaged(ValueError):
    """A file is missing, or is not what was written."""


def cache_folder() -> Path:
    """Where what was made for this machine is kept: the user's cache, which XDG_CACHE_HOME may move."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ensue"


@contextmanager
def folder_aside(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; rename it to `target` if the block succeeds, remove it if it does not.

    A reader sees the old folder or the new one, never half of either. An existing `target` is replaced, and what a
    killed process left of an earlier attempt is removed. When the block is left, everything is on the disk itself, so
    that it outlives a power cut. Raises whatever the block raises (OSError for a full disk), with `target` untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(target.parent, name=target.name)
    aside = target.with_name(f".{target.name}.writing-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        for path in [*aside.rglob("*"), aside]:
            flush_to_disk(path)
        _move(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    flush_to_disk(target.parent)


def clear_leftovers(parent: Path, *, name: str | None = None, all_are_dead: bool = False) -> None:
    """Remove what killed processes were writing aside in `parent`, for the target `name` or for every one.

    A folder that was moved away to make room, whose replacement never came, is put back. Only leftovers of processes
    that are gone count, unless the caller holds a lock and knows that `all_are_dead`.
    """
    for path in parent.glob(".*"):
        found = re.fullmatch(r"\.(.+)\.(writing|replaced)-(\d{1,9})", path.name)
        if found is None or (name is not None and found[1] != name):
            continue
        if not all_are_dead and _is_alive(int(found[3])):
            continue
        if found[2] == "replaced" and not (parent / found[1]).exists():
            os.rename(path, parent / found[1])
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_file_aside(path: Path, text: str) -> None:
    """Replace a text file in one move, so that no reader and no crash ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        flush_to_disk(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def link_aside(link: Path, target: Path) -> None:
    """Make `link` point at the folder `target`, relatively and in one move."""
    aside = link.with_name(f".{link.name}.writing-{os.getpid()}")
    aside.unlink(missing_ok=True)
    aside.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
    os.replace(aside, link)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Record the SHA-256 of every file in `folder` in its `checksums.json`; `known` ones are not read again."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sums = {name: (known or {}).get(name) or sha256_of(folder / name) for name in names if name != CHECKSUMS}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")


def verify_checksums(folder: Path) -> None:
    """Raise Damaged naming the first file of `folder` that is missing or not what was written.

    A folder without `checksums.json` (one that Ensue did not write) passes.
    """
    record = folder / CHECKSUMS
    if not record.exists():
        return
    try:
        sums = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Damaged(f"{record} is damaged ({error}); use another checkpoint of the run.") from error
    if not isinstance(sums, dict):
        raise Damaged(f"{record} is damaged (it holds no names); use another checkpoint of the run.")
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise Damaged(f"{path} is missing; use another checkpoint of the run.")
        if sha256_of(path) != expected:
            raise Damaged(
                f"{path} is not the file that was written: its SHA-256 differs from the one in {CHECKSUMS} "
                "(truncated or changed). Use another checkpoint of the run, or copy this one again."
            )


def flush_to_disk(path: Path) -> None:
    """Return when the file or folder is on the disk itself, and not only in the system's memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
