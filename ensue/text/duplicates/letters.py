"""What is a letter to a shingle: said by ranges of code points, so that it is the same in every version of Unicode."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from ensue.text.filters.scripts import LONG_WORDS, SHORT_WORDS

SEPARATOR, LOOK_FURTHER = 0, 1
"""In `Letters.of_byte`: no letter; the first byte of a character that may be a sign. Other values are letters."""

SIGNS = (
    *((0x80, 0xBF), (0x2000, 0x207F), (0x3000, 0x3004), (0x3008, 0x3020), (0x3030, 0x3030), (0x303D, 0x303F)),
    *((0xFF01, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65)),
)
"""Punctuation and spaces beyond ASCII, by first and last code point: Latin-1's, general (curly quotation marks and
dashes), Chinese and Japanese, and their wide forms."""

MAY_BE_SIGNS = (0xC2, 0xE2, 0xE3, 0xEF)
"""The bytes with which their UTF-8 begins."""

TABLE_SIZE = 0x40000
"""Code points from here on are no signs and in no script without spaces."""


class Letters(NamedTuple):
    """of_byte   (256,) uint8: SEPARATOR, LOOK_FURTHER, or the byte of a letter, in lower case if it is ASCII
    sign      (TABLE_SIZE,) bool of a code point
    unspaced  (TABLE_SIZE,) bool of a code point: its script puts no space between words
    """

    of_byte: np.ndarray
    sign: np.ndarray
    unspaced: np.ndarray


@cache
def letters() -> Letters:
    """The three tables, made once in each process."""
    of_byte = np.zeros(256, np.uint8)
    for byte in range(256):
        if byte >= 0x80 or chr(byte).isalnum():
            of_byte[byte] = ord(chr(byte).lower()) if byte < 0x80 else byte
    of_byte[list(MAY_BE_SIGNS)] = LOOK_FURTHER
    sign, unspaced = np.zeros((2, TABLE_SIZE), np.bool_)
    for table, ranges in ((sign, SIGNS), (unspaced, SHORT_WORDS + LONG_WORDS)):
        for first, last in ranges:
            table[first : last + 1] = True
    unspaced &= ~sign
    return Letters(of_byte, sign, unspaced)
