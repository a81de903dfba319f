"""The text of a PDF, page after page, as far as it has any."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import IO, Any

from ensue.text.office.files import OfficeText
from ensue.text.streams import Unreadable

_META = {"/Title": "title", "/Author": "author"}


def read_pdf(file: IO[bytes]) -> OfficeText:
    """The pages' text with blank lines between them, in lines as they are printed.

    Raises Unreadable for a PDF that needs a password and, when its text is read, for one that has none (pages that
    were scanned) or that pypdf cannot follow.
    """
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise ValueError("To read PDF files, type: pip install 'ensue[office]'") from error
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(file)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("the file is encrypted")
        meta = _meta(reader)
    except _errors(PyPdfError) as error:
        raise Unreadable("the file is damaged", str(error)[:200]) from error
    return OfficeText(_texts(reader, _errors(PyPdfError)), meta)


def _errors(base: type[Exception]) -> tuple[type[Exception], ...]:
    # Damage inside a PDF shows as almost any of these.
    return (base, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, NotImplementedError)


def _texts(reader: Any, errors: tuple[type[Exception], ...]) -> Iterator[str]:
    some = False
    for number in range(1, _page_count(reader, errors) + 1):
        try:
            text = reader.pages[number - 1].extract_text()
        except errors as error:
            if isinstance(error, Unreadable):
                raise
            raise Unreadable("the file is damaged", f"page {number}: {error}"[:200]) from error
        if text.strip():
            some = True
            yield _storable(text) + "\n\n"
    if not some:
        raise Unreadable("no text in the PDF", "its pages are pictures, perhaps; it needs text recognition (OCR)")


def _page_count(reader: Any, errors: tuple[type[Exception], ...]) -> int:
    try:
        return len(reader.pages)
    except errors as error:
        raise Unreadable("the file is damaged", str(error)[:200]) from error


def _meta(reader: Any) -> dict[str, str]:
    information = reader.metadata or {}
    meta = {name: str(information[key])[:200] for key, name in _META.items() if information.get(key)}
    created = getattr(information, "creation_date", None)
    if created is not None:
        meta["date"] = created.isoformat()
    return {key: _storable(value) for key, value in meta.items()}


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")
