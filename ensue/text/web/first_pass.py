"""A page's main text by the compiled reader, and whether that can be relied on."""

from __future__ import annotations

import html as markup
import re
import unicodedata
from dataclasses import dataclass

from ensue.text.web.page_blocks import main_blocks
from ensue.text.web.page_tree import Tree

LEAST_SHARE = 0.8
"""Of the page's good text that must be in the part taken for the article; where less is, pages have several parts."""

_BLANKS = re.compile(r"[^\S\n]{2,}")


@dataclass(frozen=True)
class FirstPass:
    """text   a line for each block
    share  of the page's good text that is in the part it was taken from
    """

    text: str
    share: float

    def suffices(self, enough: int) -> bool:
        """Whether another extractor would hardly find more or less: there is enough of it, and little elsewhere."""
        return len(self.text) >= enough and self.share >= LEAST_SHARE


def first_pass(tree: Tree, *, tables: bool = True) -> FirstPass:
    """What the reader takes for the main text."""
    said, share = main_blocks(tree, tables=tables)
    text = said.decode("utf-8", "replace")
    if "&" in text:
        text = markup.unescape(text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.replace("\xa0", " "))
    return FirstPass("\n".join(map(_tidy, text.split("\n"))).strip("\n"), share)


def _tidy(line: str) -> str:
    """A line without blanks at its end or several in a row, but for those it begins with."""
    line = line.rstrip()
    if "  " not in line and line.isascii():
        return line
    indent = len(line) - len(line.lstrip())
    return line[:indent] + _BLANKS.sub(" ", line[indent:])
