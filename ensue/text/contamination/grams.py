"""Runs of 13 words, or of 20 characters in scripts without spaces: cut, hashed, and looked up in a set of them.

Words are what GPT-3 (2020, appendix C) compares: lower-case, between white space, without punctuation. A character of a
script without spaces is a unit of its own. A gram begins at any unit and goes on until it is complete: each of n words
is 1/n of it, each of c such characters 1/c, so that text of both kinds has grams too, and equal text has equal grams.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ensue.text.contamination.characters import (
    ALONE,
    BREAK,
    NOTHING,
    SPACE,
    TABLE_SIZE,
    WORD,
    kind_of_character,
    lower_case,
    tables,
)

BASE = np.uint64(0x9E3779B97F4A7C15)
MIX = np.uint64(0xBF58476D1CE4E5B9)
"""Odd numbers whose bits look random: of the rolling hash, and of the mixing of what goes into it."""


@dataclass(frozen=True)
class GramSize:
    """How long a gram is: `words`, or `characters` of a script without spaces."""

    words: int = 13
    characters: int = 20

    def __post_init__(self) -> None:
        if self.words < 1 or self.characters < 1:
            raise ValueError(f"a gram is 1 or more words or characters long, not {self.words} and {self.characters}.")


@dataclass(frozen=True)
class Found:
    """Grams of a text in order: (G,) int64 first character, (G,) int64 one past the last, (G,) uint64 hash."""

    starts: np.ndarray
    stops: np.ndarray
    hashes: np.ndarray


class GramSet:
    """A set of gram hashes that a kernel looks up: an open table, behind bits that turn most others away."""

    def __init__(self, hashes: np.ndarray) -> None:
        """`hashes` are uint64 in any order, repeats allowed."""
        self.hashes: np.ndarray = np.unique(hashes.astype(np.uint64))
        places = 1 << max(10, (2 * len(self.hashes)).bit_length())
        self.table, self.bits = np.zeros(places, np.uint64), np.zeros(places, np.uint8)
        _kernels().fill(self.hashes, self.table, self.bits)


def find_grams(text: str, size: GramSize, among: GramSet | None = None) -> Found:
    """The grams of a text, or those of them that are in a set.

    Raises ValueError where numba is missing.
    """
    codes, known, kernels = _codes(text), tables(), _kernels()
    hashes, starts, stops = np.empty(len(codes), np.uint64), *np.empty((2, len(codes)), np.int64)
    shares = np.empty(len(codes), np.int64)
    units = kernels.units(codes, *known, size.words, size.characters, hashes, starts, stops, shares)
    hashes, starts, stops, shares = hashes[:units], starts[:units], stops[:units], shares[:units]
    longest = max(size.words, size.characters)
    count = kernels.roll(hashes, shares, size.words * size.characters, longest, starts, stops)
    found = Found(starts[:count], stops[:count], hashes[:count])
    if among is None:
        return found
    there = kernels.look_up(found.hashes, among.table, among.bits)
    return Found(found.starts[there], found.stops[there], found.hashes[there])


def count_units(text: str) -> tuple[int, int]:
    """How many words a text has, and how many characters that are units of their own."""
    found = find_grams(text, GramSize(1, 1))
    alone = int((tables().kind[_codes(text)[found.starts]] == ALONE).sum())
    return len(found.starts) - alone, alone


def plain_grams(text: str, size: GramSize) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """The slow twin of `find_grams`: first character, one past the last, and the units themselves."""
    units = _plain_units(text)
    for first in range(len(units)):
        done, last = 0, first
        while last < len(units) and units[last][0]:
            done += size.words if units[last][3] else size.characters
            if done >= size.words * size.characters:
                yield units[first][1], units[last][2], tuple(unit[0] for unit in units[first : last + 1])
                break
            last += 1


def _plain_units(text: str) -> list[tuple[str, int, int, bool]]:
    """Each unit in lower case, where it begins and ends, and whether it is a character of its own; breaks are ""."""
    units: list[tuple[str, int, int, bool]] = []
    inside = False
    for place, character in enumerate(text):
        kind = kind_of_character(character)
        if kind == WORD and inside:
            word, first, _, alone = units[-1]
            units[-1] = (word + lower_case(character), first, place + 1, alone)
        elif kind in (WORD, ALONE):
            units.append((lower_case(character), place, place + 1, kind == ALONE))
        elif kind == BREAK:
            units.append(("", place, place, False))
        inside = kind == WORD or (kind == NOTHING and inside)
    return units


def _codes(text: str) -> np.ndarray:
    """The code points of a text, as bytes where they are all ASCII."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _units(
    codes: Any, kinds: Any, lower: Any, words: int, characters: int, hashes: Any, starts: Any, stops: Any, shares: Any
) -> int:
    """Write hash, place and share of each unit of a text (a share of 0 is a break) and return how many there are."""
    count, word, open_word = 0, np.uint64(0), False
    for place in range(len(codes)):
        code = codes[place]
        kind = kinds[code] if code < TABLE_SIZE else NOTHING
        if kind == WORD:
            if not open_word:
                word, open_word = np.uint64(0), True
                starts[count] = place
            word = (word ^ np.uint64(lower[code])) * MIX
            word ^= word >> np.uint64(29)
            hashes[count], stops[count], shares[count] = word, place + 1, characters
        elif kind != NOTHING:
            if open_word:
                count, open_word = count + 1, False
            if kind != SPACE:
                mixed = np.uint64(lower[code]) * BASE
                hashes[count], starts[count], stops[count] = mixed ^ (mixed >> np.uint64(31)), place, place + 1
                shares[count] = words if kind == ALONE else 0
                count += 1
    return count + 1 if open_word else count


def _roll(hashes: Any, shares: Any, whole: int, longest: int, starts: Any, stops: Any) -> int:
    """Write grams over the units, each in the place of one that has been read by then; return how many there are."""
    powers = np.ones(longest + 1, np.uint64)
    for index in range(1, longest + 1):
        powers[index] = powers[index - 1] * BASE
    recent = np.zeros(longest + 1, np.uint64)
    count, first, done, rolling = 0, 0, 0, np.uint64(0)
    for last in range(len(hashes)):
        if shares[last] == 0:
            first, done, rolling = last + 1, 0, np.uint64(0)
            continue
        recent[last % len(recent)] = hashes[last]
        rolling = rolling * BASE + hashes[last]
        done += shares[last]
        while done >= whole:
            gram = (rolling ^ (rolling >> np.uint64(32))) * MIX
            gram ^= gram >> np.uint64(29)
            # A gram's last unit is behind its place, or is it; its first one's start and share are read before.
            done -= shares[first]
            rolling -= recent[first % len(recent)] * powers[last - first]
            starts[count], stops[count] = starts[first], stops[last]
            hashes[count] = gram if gram != np.uint64(0) else np.uint64(1)
            count, first = count + 1, first + 1
    return count


def _fill(hashes: Any, table: Any, bits: Any) -> None:
    """Put hashes into an open table of a power of two places, in which 0 is no hash, and set a bit for each."""
    mask, bit_mask = np.uint64(len(table) - 1), np.uint64(8 * len(bits) - 1)
    for value in hashes:
        bit = (value >> np.uint64(32)) & bit_mask
        bits[bit >> np.uint64(3)] |= np.uint8(1) << np.uint8(bit & np.uint64(7))
        place = value & mask
        while table[place] != np.uint64(0):
            place = (place + np.uint64(1)) & mask
        table[place] = value


def _look_up(hashes: Any, table: Any, bits: Any) -> Any:
    """Which hashes are in the table that `_fill` filled: a bool each."""
    mask, bit_mask = np.uint64(len(table) - 1), np.uint64(8 * len(bits) - 1)
    there = np.zeros(len(hashes), np.bool_)
    for index in range(len(hashes)):
        value = hashes[index]
        bit = (value >> np.uint64(32)) & bit_mask
        if (bits[bit >> np.uint64(3)] >> np.uint8(bit & np.uint64(7))) & np.uint8(1):
            place = value & mask
            while table[place] != np.uint64(0) and table[place] != value:
                place = (place + np.uint64(1)) & mask
            there[index] = table[place] == value
    return there


class _Kernels(NamedTuple):
    units: Any
    roll: Any
    fill: Any
    look_up: Any


@cache
def _kernels() -> _Kernels:
    """The four functions above, compiled at their first use on a machine."""
    try:
        from numba import njit
    except ImportError as error:
        raise ValueError("finding evaluation text needs numba; type: pip install 'ensue[corpus]'") from error
    compiled = njit(cache=True, nogil=True)
    return _Kernels(compiled(_units), compiled(_roll), compiled(_fill), compiled(_look_up))
