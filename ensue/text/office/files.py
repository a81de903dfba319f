"""The text of a book or an office file, piece by piece, and what it says about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from ensue.text.streams import Unreadable

UNPACKED_BYTES = 512 << 20
TOO_MUCH = "it unpacks to too much"
_LIBRARIES = {".epub": "lxml", ".docx": "docx", ".pdf": "pypdf"}


@dataclass(frozen=True)
class OfficeText:
    """Pieces of text that, joined, are the whole; and meta such as its title, author, date and language."""

    texts: Iterator[str]
    meta: Mapping[str, str]


@contextmanager
def open_office_file(path: Path, kind: str) -> Iterator[OfficeText]:
    """The text of an .epub, .docx or .pdf file, read as it is asked for.

    Raises Unreadable, here or while its text is read, for a file that is damaged, encrypted, or unpacks to more than
    UNPACKED_BYTES, and ValueError if the library for its kind is not installed.
    """
    if find_spec(_LIBRARIES[kind]) is None:
        raise ValueError(f"To read {kind} files, type: pip install 'ensue[office]'")
    try:
        file = path.open("rb")
    except OSError as error:
        missing = (
            "permission to read it is missing" if isinstance(error, PermissionError) else "the file cannot be read"
        )
        raise Unreadable(missing, str(error.strerror)) from error
    with file:
        content = _opened(_reader(kind), file)
        yield OfficeText(_guarded(content.texts), content.meta)


def _reader(kind: str) -> Callable[[IO[bytes]], OfficeText]:
    from ensue.text.office.docx import read_docx
    from ensue.text.office.epub import read_epub
    from ensue.text.office.pdf import read_pdf

    return {".epub": read_epub, ".docx": read_docx, ".pdf": read_pdf}[kind]


def _opened(reader: Callable[[IO[bytes]], OfficeText], file: IO[bytes]) -> OfficeText:
    try:
        return reader(file)
    except Unreadable:
        raise
    except Exception as error:  # damage inside these files shows as almost any error of the libraries
        raise Unreadable("the file is damaged", _told(error)) from error


def _guarded(texts: Iterator[str]) -> Iterator[str]:
    try:
        yield from texts
    except Unreadable:
        raise
    except Exception as error:  # as above
        raise Unreadable("the file is damaged", _told(error)) from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
