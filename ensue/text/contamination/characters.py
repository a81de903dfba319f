"""What each character is to a gram: a space, part of a word, a unit of its own (scripts without spaces), or nothing."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np

from ensue.text.filters.code_points import in_categories, lower_cases, those
from ensue.text.filters.scripts import LONG_WORDS, SHORT_WORDS, is_unspaced

NOTHING, SPACE, WORD, ALONE, BREAK = range(5)

SEPARATOR = "\x1c"
"""The file separator: no gram reaches over it. Texts are joined by it, to be gone through at once."""

TABLE_SIZE = 0x40000
"""Code points from here on are for private use and the like, and are nothing to a gram."""


class Tables(NamedTuple):
    """kind  (TABLE_SIZE,) uint8, what a code point is;  lower  (TABLE_SIZE,) uint32, its lower case."""

    kind: np.ndarray
    lower: np.ndarray


def kind_of_character(character: str) -> int:
    """What one character is to a gram."""
    if character == SEPARATOR:
        return BREAK
    if character.isspace():
        return SPACE
    if ord(character) >= TABLE_SIZE or unicodedata.category(character)[0] not in "LNM":
        return NOTHING
    return ALONE if is_unspaced(ord(character)) else WORD


def lower_case(character: str) -> str:
    """The lower case of one character, always one character and whatever stands around it."""
    return character.lower()[0]


@cache
def tables() -> Tables:
    """The two functions above for every code point, made once in each process."""
    counts = in_categories(np.arange(TABLE_SIZE, dtype=np.uint32), "LNM")
    kind = np.where(counts, WORD, NOTHING).astype(np.uint8)
    for first, last in SHORT_WORDS + LONG_WORDS:
        kind[first : last + 1] = np.where(counts[first : last + 1], ALONE, NOTHING)
    kind[:0x10000][those(0x10000, str.isspace)] = SPACE
    kind[ord(SEPARATOR)] = BREAK
    return Tables(kind, lower_cases(TABLE_SIZE))
