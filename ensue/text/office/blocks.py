"""The text of an XHTML tree: one paragraph for each block, blank lines between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_BLOCKS = frozenset(
    (
        *(
            "address",
            "article",
            "aside",
            "blockquote",
            "body",
            "caption",
            "dd",
            "div",
            "dl",
            "dt",
            "figcaption",
            "figure",
        ),
        *("footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav"),
        *("ol", "p", "pre", "section", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
    )
)
_UNSEEN = frozenset(("head", "script", "style", "template", "svg", "rp", "rt"))
_SPACE = re.compile(r"[ \t\r\n\f]+")


def blocks_of(root: Any) -> Iterator[str]:
    """The paragraphs, headings, list items and table cells, in order, white space as a browser shows it.

    The readings that stand beside Chinese or Japanese characters (ruby) are left out.
    """
    waiting: list[str] = []
    for piece in _pieces(root):
        if piece is not None:
            waiting.append(piece)
        elif text := _shown(waiting):
            yield text
            waiting = []
        else:
            waiting = []
    if text := _shown(waiting):
        yield text


def _pieces(root: Any) -> Iterator[str | None]:
    """The strings in order, and None at the edges of blocks. Without recursion, since pages may be nested deeply."""
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        element, done = stack.pop()
        name = _name(element)
        if done:
            if name in _BLOCKS:
                yield None
        else:
            if name in _BLOCKS:
                yield None
            stack.append((element, True))
            if name == "br":
                yield "\v"
            if name and name not in _UNSEEN:
                yield element.text or ""
                stack.extend((child, False) for child in reversed(element))
            continue
        if element is not root:
            yield element.tail or ""


def _name(element: Any) -> str:
    """The tag without its name space, in lower case; "" for comments and instructions."""
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def _shown(pieces: list[str]) -> str:
    text = _SPACE.sub(" ", "".join(pieces))
    return "\n".join(line.strip(" ") for line in text.split("\v")).strip("\n")
