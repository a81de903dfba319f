"""What each character is to a gram: a space, part of a word, a unit of its own (scripts without spaces), or nothing."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np

NOTHING, SPACE, WORD, ALONE, BREAK = range(5)

SEPARATOR = "\x1c"
"""The file separator: no gram reaches over it. Texts are joined by it, to be gone through at once."""

UNSPACED = (
    *((0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF)),  # Thai, Lao; Tibetan; Burmese; Khmer
    *((0x1950, 0x19DF), (0x1A20, 0x1AAF), (0xA9E0, 0xA9FF), (0xAA60, 0xAADF)),  # Tai scripts, Burmese extensions
    *((0x3005, 0x3007), (0x3040, 0x30FF), (0x3100, 0x312F), (0x31A0, 0x31BF)),  # kana and bopomofo
    *((0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)),  # Chinese characters
    *((0xFF66, 0xFF9F), (0x16FE0, 0x18DFF), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF)),
)
"""Blocks of scripts that put no spaces between words; their letters, digits and marks count one by one."""

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
    return ALONE if any(low <= ord(character) <= high for low, high in UNSPACED) else WORD


def lower_case(character: str) -> str:
    """The lower case of one character, always one character and whatever stands around it."""
    return character.lower()[0]


@cache
def tables() -> Tables:
    """The two functions above for every code point, made once in each process."""
    kind, lower = np.zeros(TABLE_SIZE, np.uint8), np.arange(TABLE_SIZE, dtype=np.uint32)
    for code in range(0x20000):
        kind[code] = kind_of_character(chr(code))
        lower[code] = ord(lower_case(chr(code)))
    last_letters = [code for code in range(0x20000, TABLE_SIZE) if unicodedata.category(chr(code))[0] in "LNM"]
    kind[last_letters] = ALONE
    return Tables(kind, lower)
