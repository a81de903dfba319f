"""The text of an EPUB book: its pages in reading order (EPUB 3.3, sections 4 and 5)."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import unquote

from ensue.text.office.archive import open_archive, parse_page, parse_xml
from ensue.text.office.blocks import blocks_of
from ensue.text.office.files import TOO_MUCH, UNPACKED_BYTES, OfficeText
from ensue.text.streams import Unreadable

_META = {"title": "title", "creator": "author", "language": "language", "date": "date"}
_PAGES = ("application/xhtml+xml", "text/html")


def read_epub(file: IO[bytes]) -> OfficeText:
    """The pages that the book's spine names, without its navigation. Raises Unreadable for what is no EPUB book."""
    with open_archive(file, UNPACKED_BYTES, TOO_MUCH) as archive:
        place = _package_place(archive)
        package = parse_xml(_member(archive, place))
    return OfficeText(_texts(file, package, posixpath.dirname(place)), _meta(package))


def _texts(file: IO[bytes], package: Any, folder: str) -> Iterator[str]:
    pages = [posixpath.normpath(posixpath.join(folder, unquote(page))) for page in _spine(package)]
    with open_archive(file, UNPACKED_BYTES, TOO_MUCH) as archive:
        names = set(archive.namelist())
        for page in dict.fromkeys(pages):
            root = parse_page(archive.read(page)) if page in names else None
            if root is not None:
                yield from (block + "\n\n" for block in blocks_of(root))


def _package_place(archive: zipfile.ZipFile) -> str:
    container = parse_xml(_member(archive, "META-INF/container.xml"))
    for element in container.iter("{*}rootfile"):
        return str(element.get("full-path", ""))
    raise Unreadable("not an EPUB book", "its container names no package")


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except KeyError as error:
        raise Unreadable("not an EPUB book", f"it has no {name}") from error


def _spine(package: Any) -> list[str]:
    items = {item.get("id"): item for item in package.iter("{*}item")}
    chosen = [items.get(reference.get("idref")) for reference in package.iter("{*}itemref")]
    return [
        item.get("href", "")
        for item in chosen
        if item is not None and item.get("media-type") in _PAGES and "nav" not in item.get("properties", "").split()
    ]


def _meta(package: Any) -> dict[str, str]:
    meta: dict[str, str] = {}
    for element in package.iter("{http://purl.org/dc/elements/1.1/}*"):
        name = _META.get(element.tag.rpartition("}")[2])
        value = " ".join("".join(element.itertext()).split())[:200]
        if name and value and name not in meta:
            meta[name] = value
    return meta
