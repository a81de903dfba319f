"""Which files are read, in which order, and the name each goes by wherever the folder lies."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ensue.text.skips import SkipReport

TEXT_KINDS = (".txt", ".md", ".jsonl", ".parquet")
WEB_KINDS = (".warc", ".wet", ".html", ".htm")
OFFICE_KINDS = (".epub", ".docx", ".pdf")
KINDS = TEXT_KINDS + WEB_KINDS + OFFICE_KINDS
PACKINGS = ("", ".gz", ".zst")


@dataclass(frozen=True)
class FoundFile:
    """A regular file and the name its documents carry, such as `books/little-women.txt`; or a piece of one.

    begin, end  of a piece: what begins (a line, a gzip member) at a byte b with begin <= b < end; None for the whole.
                Documents of a piece but the first are counted from there: `crawl.warc.gz@67108864:17`
    """

    path: Path
    name: str
    begin: int = 0
    end: int | None = None

    @property
    def name_of_piece(self) -> str:
        """What its documents are counted under."""
        return f"{self.name}@{self.begin}" if self.begin else self.name


@dataclass(frozen=True)
class _Given:
    """One path the user gave, absolute, and the files at or below it, relative to it."""

    path: Path
    files: tuple[PurePath, ...]


def kind_of(name: str, kinds: Sequence[str] | None = None) -> tuple[str, str] | None:
    """The (kind, packing) of a file by its ending, such as (".jsonl", ".gz"), or None if it is none of `kinds`.

    Without `kinds`, None if Ensue does not read it at all.
    """
    lowered = name.lower()
    for kind in KINDS if kinds is None else kinds:
        for packing in PACKINGS:
            if lowered.endswith(kind + packing):
                return kind, packing
    return None


def endings(kinds: Sequence[str] | None = TEXT_KINDS) -> str:
    """What is read, as a sentence; all that Ensue reads for None."""
    listed = ", ".join(KINDS if kinds is None else kinds)
    return f"Ensue reads files ending in {listed}, each also with .gz or .zst after it."


def find_files(paths: Sequence[Path], *, kinds: Sequence[str] | None = TEXT_KINDS) -> list[Path]:
    """The files at and below `paths`, in the order they are read; the sum of their sizes is what `on_bytes` adds up to.

    Folders are searched to the bottom, hidden files and folders left out, links followed but nothing taken twice. Files
    of kinds that are not read are in the list too, since reading counts and names them. Raises FileNotFoundError for a
    path that does not exist (naming the nearest one that does) and ValueError where there is nothing to read.
    """
    return [found.path for found in find_named_files(paths, skipped=SkipReport(), kinds=kinds)]


def find_named_files(
    paths: Sequence[Path], *, skipped: SkipReport, kinds: Sequence[str] | None = TEXT_KINDS
) -> list[FoundFile]:
    """`find_files` with the name of each file, sorted by name; what cannot be looked into goes to `skipped`.

    kinds  the endings that count as text, None for all that Ensue reads (web archives and pages, books, office files)

    A name starts at the last part of the path that was given, so it does not depend on where a folder lies. Only if two
    of the given paths would give the same name does it reach further up.
    """
    if not paths:
        raise ValueError("No text was given; name one or more files or folders.")
    given = _without_repeats([_look_into(path, skipped, kinds) for path in paths], kinds)
    if not any(kind_of(file.name, kinds) for item in given for file in _absolute(item)):
        raise ValueError(f"There is no text in {', '.join(map(str, paths))}. {endings(kinds)}")
    names = _distinct_names(given)
    found: list[FoundFile] = []
    for item, below in zip(given, names, strict=True):
        found.extend(map(FoundFile, _absolute(item), below))
    return sorted(found, key=lambda file: file.name)


def _look_into(path: Path, skipped: SkipReport, kinds: Sequence[str] | None) -> _Given:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist{_nearest(path)}")
    absolute = Path(os.path.abspath(path))
    if not absolute.is_dir():
        if not absolute.is_file():
            raise ValueError(f"{path} is not a regular file or a folder; save its text to a file first.")
        return _Given(absolute, (PurePath(),))
    files = tuple(_below(absolute, skipped))
    if not any(kind_of(file.name, kinds) for file in files):
        raise ValueError(f"The folder {path} holds no text that can be read. {endings(kinds)}")
    return _Given(absolute, files)


def _below(root: Path, skipped: SkipReport) -> Iterator[PurePath]:
    """The files below a folder; linked folders last, so that what is reached twice is found where it lies."""
    visited = {_identity(root)}
    folders, linked = [root], list[Path]()
    while folders or linked:
        if folders:
            folder = folders.pop()
        else:
            folder = linked.pop(0)
            if _identity(folder) in visited or _leads_up(folder, root):
                continue
            visited.add(_identity(folder))
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            skipped.add(
                _printable(folder.relative_to(root.parent)), "the folder cannot be opened", error.strerror or ""
            )
            continue
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if os.path.isfile(path):
                yield path.relative_to(root)
            elif not os.path.isdir(path):
                detail = "a broken link, a pipe or a device"
                skipped.add(_printable(path.relative_to(root.parent)), "not a regular file", detail)
            elif entry.is_symlink():
                linked.append(path)
            elif _identity(path) not in visited:
                visited.add(_identity(path))
                folders.append(path)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _leads_up(link: Path, root: Path) -> bool:
    """Whether a linked folder holds the very folder being searched."""
    return Path(os.path.realpath(root)).is_relative_to(os.path.realpath(link))


def _absolute(given: _Given) -> list[Path]:
    return [given.path / file for file in given.files]


def _without_repeats(given: Sequence[_Given], kinds: Sequence[str] | None) -> list[_Given]:
    """Each file once, however many of the given paths and links lead to it: where it really lies, if that was given."""
    paths = [path for item in given for path in _absolute(item)]
    real = {path: os.path.realpath(path) for path in paths}

    def preference(path: Path) -> tuple[bool, bool, str]:
        # A link may carry the ending that the file it leads to lacks (a Hugging Face cache is built so).
        return kind_of(path.name, kinds) is None, real[path] != str(path), path.as_posix()

    owner: dict[str, Path] = {}
    for path in sorted(set(paths), key=preference):
        owner.setdefault(real[path], path)
    wanted = set(owner.values())
    kept = []
    for item in given:
        files = tuple(file for file in item.files if item.path / file in wanted)
        wanted.difference_update(item.path / file for file in files)
        kept.append(_Given(item.path, files))
    return kept


def _distinct_names(given: Sequence[_Given]) -> list[list[str]]:
    depths = [1] * len(given)
    while True:
        names = [
            [_printable(PurePath(*item.path.parts[-depth:]) / file) for file in item.files]
            for item, depth in zip(given, depths, strict=True)
        ]
        counts = Counter(name for below in names for name in below)
        clashing = [index for index, below in enumerate(names) if any(counts[name] > 1 for name in below)]
        deeper = [index for index in clashing if depths[index] < len(given[index].path.parts)]
        if not deeper:
            return names
        for index in deeper:
            depths[index] += 1


def _printable(path: PurePath) -> str:
    # File names need not be UTF-8 on Unix; a source must be, to be stored.
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _nearest(path: Path) -> str:
    missing = path
    while not missing.parent.exists() and missing.parent != missing:
        missing = missing.parent
    try:
        siblings = sorted(os.listdir(missing.parent))
    except OSError:
        siblings = []
    close = difflib.get_close_matches(missing.name, siblings, n=1, cutoff=0.5)
    return (
        f"; did you mean {missing.parent / close[0]}?" if close else "; check the spelling and the folder you are in."
    )
