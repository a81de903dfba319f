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


def _characters(
    text: Any, first: int, last: int, size: int, of_byte: Any, sign: Any, ring: Any, block: Any, job: Any
) -> Any:
    """Shingles of `size` letters, with nothing between them; see `_words`."""
    a, b, signature, out, at, limit, end = job
    power = np.uint64(1)
    for _ in range(size):
        power *= BASE
    ring[:] = np.uint64(0)
    rolling, count, slot, waiting, place = np.uint64(0), 0, 0, 0, first
    while place < last:
        code, length = decode(text, place)
        place += length
        if code < np.uint32(0x80):
            code = np.uint32(of_byte[code])
            if code == SEPARATOR:
                continue
        elif code < TABLE_SIZE and sign[code]:
            continue
        unit = (np.uint64(code) ^ CHARACTER_SEED) * MIX
        unit ^= unit >> np.uint64(32)
        rolling = rolling * BASE + unit - ring[slot] * power
        ring[slot] = unit
        slot = slot + 1 if slot + 1 < size else 0
        count += 1
        if count >= size:
            shingle = finish(rolling)
            block[waiting] = shingle
            waiting += 1
            if shingle <= limit and at < end:
                out[at] = shingle
                at += 1
            if waiting == BLOCK:
                permute(block, waiting, a, b, signature)
                waiting = 0
    if 0 < count < size:
        block[0], waiting = finish(rolling), 1
        out[at] = block[0]
        at += 1
    permute(block, waiting, a, b, signature)
    return at


def _deal(source: Any, target: Any, places: Any, shift: Any) -> None:
    """One pass of a radix sort: the values of `source` to the next place of their digit."""
    for value in source:
        digit = (value >> shift) & np.uint32(0xFF)
        target[places[digit]] = value
        places[digit] += 1


def _as_set(out: Any, first: int, last: int, other: Any, counts: Any) -> Any:
    """Sort out[first:last] by its bytes, lowest first, leave out repeats, and return one past the last that is left."""
    length = last - first
    counts[:] = 0
    for index in range(first, last):
        value = out[index]
        counts[value & np.uint32(0xFF)] += 1
        counts[np.uint32(256) + ((value >> np.uint32(8)) & np.uint32(0xFF))] += 1
        counts[np.uint32(512) + ((value >> np.uint32(16)) & np.uint32(0xFF))] += 1
        counts[np.uint32(768) + (value >> np.uint32(24))] += 1
    for digit in range(4):
        total = 0
        for place in range(256 * digit, 256 * digit + 256):
            counts[place], total = total, total + counts[place]
    deal(out[first:last], other[:length], counts[:256], np.uint32(0))
    deal(other[:length], out[first:last], counts[256:512], np.uint32(8))
    deal(out[first:last], other[:length], counts[512:768], np.uint32(16))
    deal(other[:length], out[first:last], counts[768:], np.uint32(24))
    end = first
    for index in range(first, last):
        if index == first or out[index] != out[end - 1]:
            out[end] = out[index]
            end += 1
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
    signature, other, counts = np.empty(len(a), np.uint32), np.empty(room.max(), np.uint32), np.empty(1024, np.int64)
    at = 0
    for row in range(len(kinds)):
        signature[:] = np.uint32(0xFFFFFFFF)
        first, last, before = starts[row], starts[row + 1], at
        job = (a, b, signature, out, at, limits[row], at + room[row])
        if kinds[row] == CHARACTERS:
            at = characters(text, first, last, size, of_byte, sign, ring, block, job)
        else:
            at = words(text, first, last, size, of_byte, sign, ring, block, job)
        at = as_set(out, before, at, other, counts)
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
characters: Any = _compiled(_characters)
sketch: Any = _compiled(_sketch)
unspaced_letters: Any = _compiled(_unspaced)
