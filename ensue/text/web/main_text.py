"""The main text of one HTML page, and what the page says about itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

META_CHARACTERS = 200
# The library that looks for dates takes no later one for true; without a day of its own it would ask the clock.
LAST_DAY = "2100-01-01"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class MainText:
    """text  the paragraphs, a line each; "" if the page has no main text
    meta  those of "title", "url", "language", "published" (an ISO 8601 day) that the page gives
    """

    text: str
    meta: dict[str, str]


def main_text(
    html: str, *, url: str = "", fetched: str = "", comments: bool = False, tables: bool = True, enough: int = 0
) -> MainText:
    """What trafilatura takes for the main text, with its default settings but for these.

    url       the page's address, if it is known
    fetched   when it was read (ISO 8601): the page cannot have been published later
    comments  keep what readers have written below the text
    tables    keep tables
    enough    a first pass without trafilatura's fallbacks is left at that where it finds so many characters; 0 for none
    """
    import trafilatura
    from trafilatura.utils import load_html

    tree = load_html(html)
    if tree is None:
        return MainText("", {})
    meta = {name: value for name, value in _meta(tree, url, fetched).items() if value}
    extract = partial(trafilatura.extract, html, url=url or None, include_comments=comments, include_tables=tables)
    text = (extract(fast=True) or "") if enough else ""
    if len(text) < max(enough, 1):
        text = extract() or ""
    return MainText(text, meta)


def _meta(tree: Any, url: str, fetched: str) -> dict[str, str]:
    from htmldate import find_date
    from trafilatura.metadata import extract_title, extract_url

    day = _DAY.match(fetched)
    published = find_date(
        tree, original_date=True, extensive_search=False, max_date=day[0] if day else LAST_DAY, url=url or None
    )
    return {
        "title": _label(extract_title(tree)),
        "url": url or _label(extract_url(tree, None)),
        "language": _label(tree.get("lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang")),
        "published": _label(published),
    }


def _label(value: Any) -> str:
    return " ".join(str(value or "").split())[:META_CHARACTERS]
