"""The slow twin of `shingle_kernels.py`, in Python and numpy: shingles, signatures and band keys said plainly."""

from __future__ import annotations

import re

import numpy as np

from ensue.text.duplicates.hashing import BASE, CHARACTER_SEED, CHARACTERS, MIX, WORD_SEED, WORDS, permutations
from ensue.text.duplicates.letters import letters

BITS = 0xFFFFFFFFFFFFFFFF
_WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]+")


def plain_kind(text: str) -> int:
    """Characters if most letters are of scripts without spaces."""
    unspaced = letters().unspaced
    inside = sum(ord(letter) < len(unspaced) and bool(unspaced[ord(letter)]) for letter in _letters(text))
    return CHARACTERS if 2 * inside > len(_letters(text)) else WORDS


def plain_shingles(text: str, kind: int, size: int) -> list[int]:
    """The 32-bit hashes of a text's shingles in order, with repeats."""
    units = _characters(text) if kind == CHARACTERS else _words(text)
    if not units:
        return []
    starts = range(max(1, len(units) - size + 1))
    return [_finish(_rolled(units[start : start + size])) for start in starts]


def plain_keys(shingles: list[int], kind: int, bands: int, rows: int) -> list[int]:
    """The band keys of a document with these shingles, of which there is one at least."""
    a, b = permutations(bands * rows)
    with np.errstate(over="ignore"):
        permuted = np.array(shingles, np.uint32)[:, None] * a + b  # (shingles, permutations), modulo 2**32
    signature = permuted.min(axis=0).reshape(bands, rows).tolist()
    return [_key(band, minima, kind) for band, minima in enumerate(signature)]


def _key(band: int, minima: list[int], kind: int) -> int:
    key = int(BASE) * (2 * band + kind + 1) & BITS
    for minimum in minima:
        key = (key ^ minimum) * int(MIX) & BITS
        key ^= key >> 31
    return key


def _is_sign(character: str) -> bool:
    sign = letters().sign
    return ord(character) < len(sign) and bool(sign[ord(character)])


def _letters(text: str) -> list[str]:
    return [
        letter for letter in text if (letter.isalnum() if letter.isascii() else not _is_sign(letter))
    ]  # fmt: skip


def _words(text: str) -> list[int]:
    spaced = "".join(" " if _is_sign(character) else character for character in text)
    return [_word(word.lower()) for word in _WORD.findall(spaced.encode("utf-8", "surrogatepass"))]


def _word(word: bytes) -> int:
    value = int(WORD_SEED)
    for byte in word:
        value = (value ^ byte) * int(MIX) & BITS
    return value ^ value >> 32


def _characters(text: str) -> list[int]:
    lowered = (letter.lower() if letter.isascii() else letter for letter in _letters(text))
    units = ((ord(letter) ^ int(CHARACTER_SEED)) * int(MIX) & BITS for letter in lowered)
    return [unit ^ unit >> 32 for unit in units]


def _rolled(units: list[int]) -> int:
    value = 0
    for unit in units:
        value = (value * int(BASE) + unit) & BITS
    return value


def _finish(rolling: int) -> int:
    return ((rolling ^ rolling >> 29) * int(MIX) & BITS) >> 32
