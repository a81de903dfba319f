"""What a page says about itself: its title, address, language and day, read from the few places that can say so."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ensue.text.web.page_tags import DATED, PLACED, RAW, VOID, element_tables, elements
from ensue.text.web.page_tree import Tree

META_CHARACTERS = 200
# The library that looks for dates takes no later one for true; without a day of its own it would ask the clock.
LAST_DAY = "2100-01-01"
MOST_BYTES, MOST_PLACES = 2000, 400
"""Of a place that may say a date, and how many places are looked at."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_ROOT = re.compile(rb"<html\b[^>]{0,2000}>", re.IGNORECASE)
_HEAD_KINDS = tuple(elements()[name] for name in ("link", "meta", "title"))
_SCRIPT = elements()["script"]


def page_facts(tree: Tree, *, url: str, fetched: str) -> dict[str, str]:
    """Those of "title", "url", "language" and "published" (an ISO 8601 day) that the page gives.

    url, fetched  as for `main_text`
    """
    from trafilatura.utils import load_html

    shown = load_html(_places(tree))
    facts = _read(shown, url, fetched) if shown is not None else {}
    if not facts.get("published") and (whole := load_html(tree.data.decode("utf-8", "replace"))) is not None:
        facts["published"] = _published(whole, url, fetched)
    return {name: value for name, value in facts.items() if value}


def _places(tree: Tree) -> str:
    """A page of nothing but those elements that tell titles, addresses and dates."""
    kinds, data = element_tables()[2], tree.data
    told = (kinds[tree.tag] & PLACED) | (tree.names & DATED) | (tree.tag == _SCRIPT)
    root = _ROOT.search(data[:10_000])
    head, body = [root[0] if root else b"<html>", b"<head>"], [b"</head><body>"]
    covered = 0
    places = np.flatnonzero(told)
    ends = np.append(tree.begin, len(data))[tree.end[places]]
    columns = (tree.tag[places], kinds[tree.tag[places]], tree.begin[places], ends)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for tag, kind, begin, end in rows:
        if begin < covered:
            continue
        if kind & VOID:
            end = data.find(b">", begin, end) + 1 or end
        if tag == _SCRIPT:
            if b"ld+json" in data[begin : begin + 200].lower():
                head.append(data[begin:end])
        elif tag in _HEAD_KINDS:
            head.append(data[begin:end])
        elif (end - begin <= MOST_BYTES or kind & PLACED) and not kind & RAW and len(body) < MOST_PLACES:
            body.append(data[begin : min(end, begin + MOST_BYTES)])
            covered = end
    return b"\n".join([*head, *body, b"</body></html>"]).decode("utf-8", "replace")


def _read(tree: Any, url: str, fetched: str) -> dict[str, str]:
    from trafilatura.metadata import extract_title, extract_url

    return {
        "title": _label(extract_title(tree)),
        "url": url or _label(extract_url(tree, None)),
        "language": _label(tree.get("lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang")),
        "published": _published(tree, url, fetched),
    }


def _published(tree: Any, url: str, fetched: str) -> str:
    from htmldate import find_date

    day = _DAY.match(fetched)
    latest = day[0] if day else LAST_DAY
    if tree.tag in ("script", "style"):  # which the library would take out of the page, and this is all of it
        return ""
    return _label(find_date(tree, original_date=True, extensive_search=False, max_date=latest, url=url or None))


def _label(value: Any) -> str:
    return " ".join(str(value or "").split())[:META_CHARACTERS]
