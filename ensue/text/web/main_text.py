"""The main text of one HTML page, and what the page says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

LIBRARY_ENOUGH = 500
"""Characters of the library's own quick pass that spare its fallbacks."""


@dataclass(frozen=True)
class MainText:
    """text  the paragraphs, a line each; "" if the page has no main text
    meta  those of "title", "url", "language", "published" (an ISO 8601 day) that the page gives
    """

    text: str
    meta: dict[str, str]


def main_text(
    html: str | bytes, *, url: str = "", fetched: str = "", comments: bool = False, tables: bool = True, enough: int = 0
) -> MainText:
    """The main text by the compiled reader where that can be relied on, else by trafilatura with its default settings.

    html      the page, as text or in UTF-8
    url       the page's address, if it is known
    fetched   when it was read (ISO 8601): the page cannot have been published later
    comments  keep what readers have written below the text, which trafilatura alone can
    tables    keep tables
    enough    characters that the compiled reader has to find, see `FirstPass.suffices`; and where trafilatura's quick
              pass finds LIBRARY_ENOUGH, its fallbacks are spared. 0: trafilatura in full
    """
    from ensue.text.web.first_pass import first_pass
    from ensue.text.web.page_facts import page_facts
    from ensue.text.web.page_tree import read_tree

    tree = read_tree(html)
    if len(tree.tag) == 1 and not tree.data.decode("utf-8", "replace").strip():
        return MainText("", {})
    facts = page_facts(tree, url=url, fetched=fetched)
    if enough and not comments:
        found = first_pass(tree, tables=tables)
        if found.suffices(enough):
            return MainText(found.text, facts)
    text = html if isinstance(html, str) else html.decode("utf-8", "replace")
    return MainText(_by_library(text, url, comments, tables, quickly=enough > 0), facts)


def _by_library(html: str, url: str, comments: bool, tables: bool, *, quickly: bool) -> str:
    import trafilatura

    extract = partial(trafilatura.extract, html, url=url or None, include_comments=comments, include_tables=tables)
    text = (extract(fast=True) or "") if quickly else ""
    return text if len(text) >= LIBRARY_ENOUGH else extract() or ""
