"""Input units: a piece of a very large file, a large file, or a few small ones that follow each other; the same for any
number of workers."""

from __future__ import annotations

import codecs
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from ensue.text.curation.store import Store
from ensue.text.document import Document
from ensue.text.find import FoundFile, find_named_files, kind_of
from ensue.text.read import read_found_file
from ensue.text.skips import SkipReport

UNIT_BYTES = 16 << 20
UNIT_FILES = 512
PIECE_BYTES = 64 << 20
"""Of a file that is cut, about; one that gives no two of them is not."""

OTHER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
"""How files begin in which a byte 10 need not end a line (UTF-32's other mark begins as UTF-16's does)."""


@dataclass(frozen=True)
class InputFile:
    """A file to read: where it is (a path or a URL), the name its documents carry, its size on disk; or a piece of it,
    see `FoundFile`, and its size."""

    place: str
    name: str
    size: int
    begin: int = 0
    end: int | None = None


@dataclass(frozen=True)
class Unit:
    """Files that one worker reads from end to end, all of one collection."""

    index: int
    collection: str
    files: tuple[InputFile, ...]


def find_units(sources: Mapping[str, Sequence[str]], *, skipped: SkipReport) -> list[Unit]:
    """The units of all sources: `sources` maps each collection's name to its paths and URLs.

    Files are in the order of their collections' names and of their own. Of a file on this disk in which records can be
    found from any place on (plain JSON lines, gzipped web archives), each piece of about PIECE_BYTES is a unit; another
    file of UNIT_BYTES or more is one, and smaller ones are put together up to that. Raises FileNotFoundError or
    ValueError where a source is missing or has nothing to read.
    """
    units: list[Unit] = []
    for collection in sorted(sources):
        for files in _together(piece for file in _files(sources[collection], skipped) for piece in _pieces(file)):
            units.append(Unit(len(units), collection, tuple(files)))
    return units


def read_unit(unit: Unit, *, skipped: SkipReport) -> Iterator[Document]:
    """The documents of a unit in order, each with its collection in its meta; a file that has gone is skipped."""
    for file in unit.files:
        with _at_hand(file, skipped) as path:
            if path is None:
                continue
            found = FoundFile(path, file.name, file.begin, file.end)
            for document in read_found_file(found, skipped=skipped, detect_encoding=True):
                yield replace(document, meta={**document.meta, "collection": unit.collection})


def _files(places: Sequence[str], skipped: SkipReport) -> list[InputFile]:
    local = [Path(place) for place in places if "://" not in place]
    files = [
        InputFile(str(found.path), found.name, _size(found.path))
        for found in (find_named_files(local, skipped=skipped, kinds=None) if local else [])
    ]
    for place in places:
        if "://" in place:
            files.extend(_remote_files(place))
    return files


def _remote_files(place: str) -> Iterator[InputFile]:
    from fsspec.core import url_to_fs

    system, root = url_to_fs(place)
    if not system.exists(root):
        raise FileNotFoundError(f"{place} does not exist; check the spelling and your access to it.")
    base = root.rstrip("/").rsplit("/", 1)[-1]
    found: dict[str, dict[str, Any]] = system.find(root, detail=True)
    for path in sorted(found):
        below = path[len(root) :].strip("/")
        yield InputFile(system.unstrip_protocol(path), f"{base}/{below}" if below else base, int(found[path]["size"]))


def _pieces(file: InputFile) -> list[InputFile]:
    count = file.size // PIECE_BYTES
    if count < 2 or "://" in file.place or not _can_be_cut(file):
        return [file]
    cuts = [file.size * number // count for number in range(count + 1)]
    return [InputFile(file.place, file.name, end - begin, begin, end) for begin, end in pairwise(cuts)]


def _can_be_cut(file: InputFile) -> bool:
    kind = kind_of(file.name)
    if kind == (".jsonl", ""):
        try:
            with open(file.place, "rb") as raw:
                return not raw.read(4).startswith(OTHER_MARKS)
        except OSError:
            return False  # reading will name it
    return kind in ((".warc", ".gz"), (".wet", ".gz"))


def _together(files: Iterable[InputFile]) -> Iterator[list[InputFile]]:
    for small, group in groupby(files, key=lambda file: file.size < UNIT_BYTES):
        if not small:
            yield from ([file] for file in group)
            continue
        unit: list[InputFile] = []
        for file in group:
            unit.append(file)
            if len(unit) == UNIT_FILES or sum(file.size for file in unit) >= UNIT_BYTES:
                yield unit
                unit = []
        if unit:
            yield unit


@contextmanager
def _at_hand(file: InputFile, skipped: SkipReport) -> Iterator[Path | None]:
    """The file on this machine's disk, fetched for as long as the block runs if it is elsewhere; None if it is gone."""
    if "://" not in file.place:
        yield Path(file.place)
        return
    folder, _, name = file.place.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="ensue-") as scratch:
        path: Path | None = Path(scratch) / name
        try:
            Store(folder).fetch(name, Path(scratch) / name)
        except OSError as error:
            skipped.add(file.name, "the file cannot be read", f"{file.place}: {error}")
            path = None
        yield path


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # reading will name it
