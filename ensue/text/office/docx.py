"""The text of a Word file: its paragraphs and tables in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from ensue.text.office.archive import open_archive
from ensue.text.office.files import TOO_MUCH, UNPACKED_BYTES, OfficeText
from ensue.text.streams import Unreadable


def read_docx(file: IO[bytes]) -> OfficeText:
    """Paragraphs with blank lines between them, a line for each row of a table, its cells apart by tabs.

    Headers, footers, footnotes and comments are left out, and so is text that was struck by tracked changes.
    """
    with open_archive(file, UNPACKED_BYTES, TOO_MUCH):
        file.seek(0)
    import docx

    try:
        document = docx.Document(file)
    except (KeyError, ValueError) as error:  # a part that every Word file has is missing or of another type
        raise Unreadable("not a Word file", str(error)[:200]) from error
    properties = document.core_properties
    meta = {"title": properties.title, "author": properties.author, "language": properties.language}
    if properties.created is not None:
        meta["date"] = properties.created.isoformat()
    return OfficeText(_texts(document), {key: value[:200] for key, value in meta.items() if value})


def _texts(document: Any) -> Iterator[str]:
    from docx.table import Table

    for block in document.iter_inner_content():
        text = _rows(block) if isinstance(block, Table) else block.text
        if text.strip():
            yield text + "\n\n"


def _rows(table: Any) -> str:
    return "\n".join("\t".join(dict.fromkeys(cell.text for cell in row.cells)) for row in table.rows)
