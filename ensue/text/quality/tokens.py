"""Tokens of the quality classifier: words in lower case, and pairs of characters where words are not spaced.

A word is a run of letters, digits and the marks that belong to them; everything else stands between words. In scripts
without spaces every two neighbouring characters are a token, and a character without a neighbour is one by itself.
Lower case is code point by code point: a final sigma stays a sigma, and of what becomes two (İ) the first is taken.
"""

from __future__ import annotations

import functools
import re
import unicodedata

import numpy as np

from ensue.text.filters.code_points import in_categories, lower_cases, those
from ensue.text.filters.scripts import LONG_WORDS, SHORT_WORDS, is_unspaced

BETWEEN, WORD, PAIRED = 0, 1, 2
"""Kinds of characters: between tokens, in a word, in a script without spaces."""

TABLE_SIZE = 0x20000
"""Code points in the table. Those above it, up to PAIRED_END, are Chinese characters; then nothing makes a token."""

PAIRED_END = 0x40000
KIND_SHIFT = 24
_ASCII_WORDS = re.compile("[a-z0-9]+")
_OTHERS = re.compile(r"[^\x00-\x7f]\S*")


def tokens(text: str) -> list[str]:
    """The tokens of a text in order: the slow twin of the compiled kernel, and what gives its buckets their names."""
    found: list[str] = []
    word = run = ""
    for character in text:
        kind = kind_of(character)
        if word and kind != WORD:
            found.append(word)
            word = ""
        if run and kind != PAIRED:
            if len(run) == 1:
                found.append(run)
            run = ""
        if kind == WORD:
            word += character.lower()[0]
        elif kind == PAIRED:
            if run:
                found.append(run[-1] + character)
            run += character
    return found + [word] * bool(word) + [run] * (len(run) == 1)


def tokens_by_piece(text: str) -> list[str]:
    """The same tokens, what is plain ASCII at once and other words one by one, since most are plain in many texts."""
    found: list[str] = []
    done = 0
    for other in _OTHERS.finditer(text):
        start = other.start()
        while start > done and not text[start - 1].isspace():
            start -= 1
        found += _ASCII_WORDS.findall(text[done:start].lower())
        found += tokens(text[start : other.end()])
        done = other.end()
    return found + _ASCII_WORDS.findall(text[done:].lower())


@functools.lru_cache(maxsize=1 << 14)
def kind_of(character: str) -> int:
    """BETWEEN, WORD or PAIRED, by the Unicode tables of this Python."""
    if ord(character) >= TABLE_SIZE:
        return PAIRED if ord(character) < PAIRED_END else BETWEEN
    if not character.isalnum() and not unicodedata.category(character).startswith("M"):
        return BETWEEN
    return PAIRED if is_unspaced(ord(character)) else WORD


@functools.cache
def character_table() -> np.ndarray:
    """For each code point below TABLE_SIZE its lower case, plus its kind shifted by KIND_SHIFT; uint32.

    Built in a hundredth of a second, once in each process.
    """
    in_token = those(TABLE_SIZE, str.isalnum)
    others = np.flatnonzero(~in_token).astype(np.uint32)
    in_token[others] = in_categories(others, "M")
    kinds = np.where(in_token, WORD, BETWEEN).astype(np.uint32)
    for first, last in SHORT_WORDS + LONG_WORDS:
        kinds[first : last + 1] *= PAIRED
    lower = np.where(kinds == PAIRED, np.arange(TABLE_SIZE, dtype=np.uint32), lower_cases(TABLE_SIZE))
    table: np.ndarray = lower | kinds << KIND_SHIFT
    return table


def token_values(passage: int) -> np.ndarray:
    """1 + log(n) for n from 1 to `passage`, the weight of a token that is there n times; 0 for none."""
    values = np.zeros(passage + 1)
    values[1:] = 1 + np.log(np.arange(1, passage + 1))
    return values
