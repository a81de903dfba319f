"""A page's main text by the compiled reader, and whether that can be relied on."""

from __future__ import annotations

import html as markup
import re
import unicodedata
from dataclasses import dataclass

from ensue.text.web.page_blocks import main_blocks
from ensue.text.web.page_tree import Tree

LEAST_SHARE = 0.7
"""Of the page's good text that must be in the part taken for the article; where less is, pages have several parts."""

LEAST_OF_PAGE = 0.1
"""Of all text on the page that a short text must be; where it is less, there may be more to find."""

_BLANKS = re.compile(r"[^\S\n]{2,}")


@dataclass(frozen=True)
class FirstPass:
    """text     a line for each block
    share    of the page's good text that is in the part it was taken from
    of_page  of all text on the page that it is
    """

    text: str
    share: float
    of_page: float

    def suffices(self, enough: int) -> bool:
        """Whether another extractor would hardly find more or less: there is enough of it, and little elsewhere.

        Twice as much is enough on any page, and `enough` where it is not too little of the page.
        """
        least = enough if self.of_page >= LEAST_OF_PAGE else 2 * enough
        return len(self.text) >= least and self.share >= LEAST_SHARE


def first_pass(tree: Tree, *, tables: bool = True) -> FirstPass:
    """What the reader takes for the main text."""
    said, share, size = main_blocks(tree, tables=tables)
    of_page = len(said) / max(size, 1)
    text = said.decode("utf-8", "replace")
    if "&" in text:
        text = markup.unescape(text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.replace("\xa0", " "))
    return FirstPass("\n".join(map(_tidy, text.split("\n"))).strip("\n"), share, of_page)


def _tidy(line: str) -> str:
    """A line without blanks at its end or several in a row, but for those it begins with."""
    line = line.rstrip()
    if "  " not in line and line.isascii():
        return line
    indent = len(line) - len(line.lstrip())
    return line[:indent] + _BLANKS.sub(" ", line[indent:])
