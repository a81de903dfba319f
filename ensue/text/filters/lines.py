"""Lines, where sentences end, and how much of a text is said again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ensue.text.filters.words import cut_words

_STOPS = ".!?…。！？｡؟۔।॥։።፧။៕។།‼⁇⁈⁉．"
_QUOTES = "\"'”’»«“‘」』›"
_CLOSERS = ")]}）］｝】〕》〉"
_SENTENCE = re.compile(rf"[{re.escape(_STOPS)}]+[{re.escape(_QUOTES + _CLOSERS)}]*(?=\s|$)|[。！？｡]+")
ELLIPSES = ("...", "…")

UNSPACED_WIDTH = 3
"""Characters of a spaced script that say as much as one of an unspaced script: English takes 5.7 a word with its space,
Chinese 1.5; rounded down, so that a rule about short lines rather lets one pass."""


def lines_of(text: str) -> list[str]:
    """The lines with something on them, without the white space around it."""
    return [line for line in map(str.strip, text.splitlines()) if line]


def ends_sentence(line: str) -> bool:
    """Whether a line ends with a full stop, exclamation or question mark, an ellipsis, or a closing quotation mark.

    In any script that has them; brackets that close after the mark are passed over.
    """
    end = line.rstrip().rstrip(_CLOSERS)
    return bool(end) and (end[-1] in _STOPS or end[-1] in _QUOTES)


def count_sentences(text: str) -> int:
    """How many sentences end in `text`: marks before a space or a line's end, Chinese and Japanese ones anywhere."""
    return sum(1 for _ in _SENTENCE.finditer(text))


def width(line: str) -> int:
    """The characters of a line, those of scripts without spaces counted as `UNSPACED_WIDTH` each."""
    if line.isascii():
        return len(line)
    words = cut_words(line)
    return len(line) + (UNSPACED_WIDTH - 1) * (words.short + words.long)


def repeated(parts: Sequence[str]) -> tuple[float, float]:
    """The share of `parts`, and of their characters, that were there before."""
    seen: set[str] = set()
    again = characters = 0
    for part in parts:
        if part in seen:
            again += 1
            characters += len(part)
        seen.add(part)
    return again / max(len(parts), 1), characters / max(sum(map(len, parts)), 1)
