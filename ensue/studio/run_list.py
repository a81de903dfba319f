"""The runs below a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ensue.core.run import RunFolder

DEEPEST = 3
"""Levels of folders that are looked through: runs/ablation/with/seed-0 is at the third."""


def find_runs(folder: Path) -> list[RunFolder]:
    """The runs in a folder and the folders in it, by name; the folder itself may be one."""
    return [RunFolder(path) for path in _runs(folder, DEEPEST)]


def is_run(path: Path) -> bool:
    """Whether `path` is a run's folder."""
    return (path / "config.json").is_file() and (path / "checkpoints").is_dir()


def _runs(folder: Path, levels: int) -> Iterator[Path]:
    if is_run(folder):
        yield folder
    elif levels:
        try:
            inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:  # gone meanwhile, or not ours to read
            return
        for path in inside:
            yield from _runs(path, levels - 1)
