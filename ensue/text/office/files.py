"""The text of a book or an office file, piece by piece, and what it says about itself."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ensue.text.streams import Unreadable

UNPACKED_BYTES = 512 << 20
TOO_MUCH = "it unpacks to too much"


@dataclass(frozen=True)
class OfficeText:
    """Pieces of text that, joined, are the whole; and meta such as its title, author, date and language."""

    texts: Iterator[str]
    meta: Mapping[str, str]


@contextmanager
def open_office_file(path: Path, kind: str) -> Iterator[OfficeText]:
    """The text of an .epub, .docx or .pdf file, read as it is asked for.

    Raises Unreadable, here or while its text is read, for a file that is damaged, encrypted, or unpacks to more than
    UNPACKED_BYTES.
    """
    from ensue.text.office.docx import read_docx
    from ensue.text.office.epub import read_epub
    from ensue.text.office.pdf import read_pdf

    readers = {".epub": read_epub, ".docx": read_docx, ".pdf": read_pdf}
    try:
        with path.open("rb") as file:
            yield readers[kind](file)
    except PermissionError as error:
        raise Unreadable("permission to read it is missing", str(error.strerror)) from error
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise Unreadable("the file is damaged", str(error)[:200]) from error
