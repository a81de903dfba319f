"""The compiled loops over UTF-8 bytes that make MinHash keys and shingle hashes in one go. Importing it needs numba.

B bytes, D documents, P permutations. A shingle's hash has 32 bits; permutation p takes x to a[p] x + b[p] modulo 2**32.
What each of them computes is said plainly in `plain_shingles.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ensue.text.duplicates.hashing import BASE, CHARACTER_SEED, CHARACTERS, MIX, WORD_SEED
from ensue.text.duplicates.letters import LOOK_FURTHER, SEPARATOR, TABLE_SIZE

BLOCK = 1024
"""Shingles that wait to be permuted together, so that each permutation's loop stays in registers."""

NARROW_DIGIT, WIDE_DIGIT, WIDE = 8, 11, 1024
"""Bits of a digit by which hashes are sorted, in four passes; and in three, where there are at least WIDE of them."""


def _decode(text: Any, place: int) -> Any:
    """The code point that begins at `place`, and the bytes it takes."""
    byte = np.uint32(text[place])
    if byte < 0x80:
        return byte, 1
    if byte < 0xE0:
        return ((byte & np.uint32(0x1F)) << np.uint32(6)) | (np.uint32(text[place + 1]) & np.uint32(0x3F)), 2
    tail = ((np.uint32(text[place + 1]) & np.uint32(0x3F)) << np.uint32(6)) | (
        np.uint32(text[place + 2]) & np.uint32(0x3F)
    )
    if byte < 0xF0:
        return ((byte & np.uint32(0x0F)) << np.uint32(12)) | tail, 3
    return (
        ((byte & np.uint32(0x07)) << np.uint32(18))
        | (tail << np.uint32(6))
        | (np.uint32(text[place + 3]) & np.uint32(0x3F))
    ), 4


def _finish(rolling: Any) -> Any:
    """The 32 bits of a shingle from its rolling hash."""
    mixed = (rolling ^ (rolling >> np.uint64(29))) * MIX
    return np.uint32(mixed >> np.uint64(32))


def _permute(block: Any, count: int, a: Any, b: Any, signature: Any) -> None:
    """Lower each of P minima to the least permuted hash in the block's first `count`."""
    for p in range(len(a)):
        least, factor, offset = signature[p], a[p], b[p]
        for index in range(count):
            least = min(least, np.uint32(np.uint32(factor * block[index]) + offset))
        signature[p] = least


def _words(
    text: Any, first: int, last: int, size: int, of_byte: Any, sign: Any, ring: Any, block: Any, job: Any
) -> Any:
    """Shingles of `size` words; see `_sketch` for `job`. Returns one past the last hash written to `job.out`."""
    a, b, signature, out, at, limit, end = job
    power = np.uint64(1)
    for _ in range(size):
        power *= BASE
    ring[:] = np.uint64(0)
    rolling, word, words, slot, waiting, place = np.uint64(0), WORD_SEED, 0, 0, 0, first
    while place <= last:
        byte = of_byte[text[place]] if place < last else np.uint8(SEPARATOR)
        step = 1
        if byte == LOOK_FURTHER:
            code, length = decode(text, place)
            if code < TABLE_SIZE and sign[code]:
                byte, step = np.uint8(SEPARATOR), length
            else:
                byte = text[place]
        place += step
        if byte != SEPARATOR:
            word = (word ^ np.uint64(byte)) * MIX
            continue
        if word == WORD_SEED:
            continue
        word ^= word >> np.uint64(32)
        rolling = rolling * BASE + word - ring[slot] * power
        ring[slot] = word
        slot = slot + 1 if slot + 1 < size else 0
        word, words = WORD_SEED, words + 1
        if words >= size:
            shingle = finish(rolling)
            block[waiting] = shingle
            waiting += 1
            if shingle <= limit and at < end:
                out[at] = shingle
                at += 1
            if waiting == BLOCK:
                permute(block, waiting, a, b, signature)
                waiting = 0
    if 0 < words < size:
        block[0], waiting = finish(rolling), 1
        out[at] = block[0]
        at += 1
    permute(block, waiting, a, b, signature)
    return at


def _letters(text: Any, place: int, last: int, of_byte: Any, sign: Any, codes: Any) -> Any:
    """Write the letters from `place` on to `codes`, as many as there is room for; how many, and the place behind."""
    count = 0
    while place < last and count < len(codes):
        byte = text[place]
        if byte < 0x80:
            codes[count] = of_byte[byte]
            count += of_byte[byte] != SEPARATOR  # without a branch, which nothing could foresee
            place += 1
            continue
        code, length = decode(text, place)
        place += length
        codes[count] = code
        count += code >= TABLE_SIZE or not sign[code]
    return count, place


def _characters(
    text: Any, first: int, last: int, size: int, of_byte: Any, sign: Any, room: Any, block: Any, job: Any
) -> Any:
    """Shingles of `size` letters, with nothing between them; see `_words`.

    Most of it is done for BLOCK letters at once, in loops that the compiler turns into wide instructions; `room` is
    (codes, units, rollings), the units with `size` places before those of the block for the letters before it.
    """
    a, b, signature, out, at, limit, end = job
    codes, units, rollings = room
    power = np.uint64(1)
    for _ in range(size):
        power *= BASE
    units[:size] = np.uint64(0)
    rolling, count, place = np.uint64(0), 0, first
    while place < last:
        more, place = letters_from(text, place, last, of_byte, sign, codes)
        for index in range(more):
            unit = (np.uint64(codes[index]) ^ CHARACTER_SEED) * MIX
            units[size + index] = unit ^ (unit >> np.uint64(32))
        for index in range(more):
            rollings[index] = units[size + index] - units[index] * power
        for index in range(more):
            rolling = rolling * BASE + rollings[index]
            rollings[index] = rolling
        for index in range(more):
            block[index] = finish(rollings[index])
        begin = min(max(size - 1 - count, 0), more)
        for index in range(begin, more):
            if block[index] <= limit and at < end:
                out[at] = block[index]
                at += 1
        permute(block[begin:more], more - begin, a, b, signature)
        units[:size] = units[more : more + size].copy()
        count += more
    if 0 < count < size:
        block[0] = finish(rolling)
        out[at] = block[0]
        at += 1
        permute(block, 1, a, b, signature)
    return at


def _deal(source: Any, target: Any, places: Any, shift: Any, mask: Any) -> None:
    """One pass of a radix sort: the values of `source` to `target` in the order of one digit, stably."""
    places[:] = 0
    for value in source:
        places[(value >> shift) & mask] += 1
    total = 0
    for digit in range(len(places)):
        places[digit], total = total, total + places[digit]
    for value in source:
        digit = (value >> shift) & mask
        target[places[digit]] = value
        places[digit] += 1


def _as_set(out: Any, first: int, last: int, other: Any, places: Any) -> Any:
    """Sort out[first:last], leave out repeats, and return one past the last that is left."""
    bits = WIDE_DIGIT if last - first >= WIDE else NARROW_DIGIT
    here, there = out[first:last], other[: last - first]
    for shift in range(0, 32, bits):
        deal(here, there, places[: 1 << bits], np.uint32(shift), np.uint32((1 << bits) - 1))
        here, there = there, here
    end, before = first, np.uint32(0)
    for index in range(len(here)):
        value = here[index]
        out[end] = value
        end += index == 0 or value != before
        before = value
    return end


def _sketch(
    text: Any,
    starts: Any,
    kinds: Any,
    limits: Any,
    size: int,
    rows: int,
    tables: Any,
    a: Any,
    b: Any,
    keys: Any,
    out: Any,
    ends: Any,
    room: Any,
) -> None:
    """For each document, its band keys and the hashes of its shingles.

    text    (B + 1,) uint8: the documents' UTF-8, one after the other, and a byte more
    starts  (D + 1,) int64: where each begins in it
    kinds   (D,) uint8: WORDS or CHARACTERS
    limits  (D,) uint32: larger hashes are not kept
    keys    (D, bands) uint64, written; only for documents with shingles
    out     hashes, written: each document's ascending, without repeats;  ends  (D,) int64: where each document's end
    room    (D,) int64: hashes kept of a document at most
    """
    of_byte, sign = tables
    ring, block = np.zeros(size, np.uint64), np.zeros(BLOCK, np.uint32)
    spare = np.zeros(BLOCK, np.uint32), np.zeros(BLOCK + size, np.uint64), np.zeros(BLOCK, np.uint64)
    signature, other, places = (
        np.empty(len(a), np.uint32),
        np.empty(room.max(), np.uint32),
        np.empty(1 << WIDE_DIGIT, np.int32),
    )
    at = 0
    for row in range(len(kinds)):
        signature[:] = np.uint32(0xFFFFFFFF)
        first, last, before = starts[row], starts[row + 1], at
        job = (a, b, signature, out, at, limits[row], at + room[row])
        if kinds[row] == CHARACTERS:
            at = characters(text, first, last, size, of_byte, sign, spare, block, job)
        else:
            at = words(text, first, last, size, of_byte, sign, ring, block, job)
        at = as_set(out, before, at, other, places)
        ends[row] = at
        for band in range(keys.shape[1]):
            key = BASE * np.uint64(2 * band + kinds[row] + 1)
            for index in range(band * rows, (band + 1) * rows):
                key = (key ^ np.uint64(signature[index])) * MIX
                key ^= key >> np.uint64(31)
            keys[row, band] = key


def _unspaced(text: Any, first: int, last: int, unspaced: Any, of_byte: Any, sign: Any) -> Any:
    """How many characters are letters of scripts without spaces, and how many other letters there are."""
    inside, outside, place = 0, 0, first
    while place < last:
        if text[place] < 0x80:
            outside += of_byte[text[place]] != SEPARATOR
            place += 1
            continue
        code, length = decode(text, place)
        place += length
        if code < TABLE_SIZE and unspaced[code]:
            inside += 1
        elif code >= TABLE_SIZE or not sign[code]:
            outside += 1
    return inside, outside


_compiled: Any = njit(cache=True, nogil=True)
decode: Any = njit(inline="always")(_decode)
finish: Any = njit(inline="always")(_finish)
permute: Any = _compiled(_permute)
deal: Any = njit(inline="always")(_deal)
as_set: Any = _compiled(_as_set)
words: Any = _compiled(_words)
letters_from: Any = _compiled(_letters)
characters: Any = _compiled(_characters)
sketch: Any = _compiled(_sketch)
unspaced_letters: Any = _compiled(_unspaced)
