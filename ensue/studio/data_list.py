"""Which data and corpora a studio shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.core.run import RunFolder
from ensue.studio.dropped import is_corpus
from ensue.studio.run_list import find_runs
from ensue.studio.run_records import RunRecords

BESIDE = ("data", "corpora")
"""Folders that are looked into, in the one where the studio was started."""


@dataclass(frozen=True)
class DataChoice:
    """A folder with documents, and the name that people choose it by."""

    name: str
    path: Path


def find_data(given: Sequence[Path], runs: Path, records: RunRecords | None = None) -> list[DataChoice]:
    """The folders that were named, those in `data` and `corpora`, and those that runs were trained on; the sources of
    mixtures only with `records`."""
    found: dict[Path, DataChoice] = {}
    for path in [*given, *map(Path, BESIDE)]:
        for folder in _folders(path):
            found.setdefault(folder.resolve(), DataChoice(str(folder), folder))
    for run in find_runs(runs):
        for folder in _of_run(run, records):
            found.setdefault(folder.resolve(), DataChoice(_short(folder), folder))
    return list(found.values())


def facts_of(folder: Path) -> dict[str, Any]:
    """What data.json or corpus.json says; nothing where there is neither."""
    for name in ("data.json", "corpus.json"):
        try:
            read = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(read, dict):
            return read
    return {}


def _folders(path: Path) -> Iterator[Path]:
    if _has_documents(path):
        yield path
    elif path.is_dir():
        yield from (folder for folder in sorted(path.iterdir()) if _has_documents(folder))


def _of_run(run: RunFolder, records: RunRecords | None) -> Iterator[Path]:
    try:
        data = run.read_config()["config"]["data"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    folder = run.path.resolve() / str(data)
    if _has_documents(folder):
        yield folder
    elif records is not None and (folder / "mixture.json").is_file():
        for source in records.sources(folder):
            yield from (candidate for candidate in (source, source.parent.parent) if _has_documents(candidate))


def _has_documents(path: Path) -> bool:
    return (path / "documents").is_dir() and ((path / "data.json").is_file() or is_corpus(path))


def _short(folder: Path) -> str:
    """The path from here, where it is below, or else as it is."""
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
