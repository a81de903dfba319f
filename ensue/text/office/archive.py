"""What EPUB and DOCX files are: zip archives of XML, opened with a limit on what they may unpack to."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from ensue.text.streams import Unreadable


@contextmanager
def open_archive(file: IO[bytes], limit: int, reason: str) -> Iterator[zipfile.ZipFile]:
    """The archive. Raises Unreadable, with `reason`, if its members claim to unpack to more than `limit` bytes.

    The claims hold: no more of a member can be read than it claims.
    """
    with zipfile.ZipFile(file) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
        if claimed > limit:
            raise Unreadable(reason, f"{claimed:,} bytes, more than {limit >> 20} MiB")
        if any(member.flag_bits & 1 for member in archive.infolist()):
            raise Unreadable("the file is encrypted")
        yield archive


def parse_xml(data: bytes) -> Any:
    """The root element; entities are not expanded and nothing is fetched. Raises Unreadable for what is not XML."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise Unreadable("the file is damaged", str(error)[:200]) from error


def parse_page(data: bytes) -> Any:
    """The root element of an XHTML page, however badly formed; None if there is none."""
    from lxml import etree

    try:
        return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        try:
            return etree.fromstring(data, etree.HTMLParser(no_network=True))
        except etree.XMLSyntaxError:
            return None
