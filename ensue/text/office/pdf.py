"""The text of a PDF, page after page, as far as it has any."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import IO, Any

from ensue.text.office.files import OfficeText
from ensue.text.streams import Unreadable

META_CHARACTERS = 200


def read_pdf(file: IO[bytes]) -> OfficeText:
    """The pages' text with blank lines between them, in lines as they are printed.

    Raises Unreadable for a PDF that needs a password and, when its text is read, for one that has none, since its
    pages are pictures.
    """
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = PdfReader(file)
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("the file is encrypted")
    return OfficeText(_texts(reader), _meta(reader))


def _texts(reader: Any) -> Iterator[str]:
    some = False
    for page in reader.pages:
        text = page.extract_text()
        if text.strip():
            some = True
            yield _storable(text) + "\n\n"
    if not some:
        raise Unreadable("no text in the PDF", "its pages are pictures, perhaps; it needs text recognition (OCR)")


def _meta(reader: Any) -> dict[str, str]:
    information = reader.metadata
    if information is None:
        return {}
    try:
        created = information.creation_date
    except ValueError:  # a date in no known form costs the date alone
        created = None
    meta = {
        "title": information.title,
        "author": information.author,
        "date": created.isoformat() if created is not None else "",
    }
    return {key: _storable(str(value))[:META_CHARACTERS] for key, value in meta.items() if value}


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")
