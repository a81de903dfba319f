"""UTF-8 in, score out, in one compiled pass: tokens, their hash buckets, counts, and the product with the weights.

Imported where it is used, since numba takes a while to load. The hash is MurmurHash3's 32 bits of the token in UTF-8
with seed 0, its absolute value modulo the number of buckets, so that scikit-learn's HashingVectorizer gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from ensue.text.quality.tokens import KIND_SHIFT, PAIRED, PAIRED_END, TABLE_SIZE, WORD

F = TypeVar("F", bound=Callable[..., object])
MASK = 0xFFFFFFFF


def compiled(function: F) -> F:
    """The function as machine code, compiled at its first call and kept on disk for other processes."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


@compiled
def _mix(block: int) -> int:
    block = (block * 0xCC9E2D51) & MASK
    block = ((block << 15) | (block >> 17)) & MASK
    return (block * 0x1B873593) & MASK


@compiled
def _push(state: tuple[int, int, int], byte: int) -> tuple[int, int, int]:
    """One more byte into (hash, bytes of the block so far, length)."""
    value, block, length = state
    block |= byte << (8 * (length & 3))
    length += 1
    if length & 3 == 0:
        value ^= _mix(block)
        value = ((value << 13) | (value >> 19)) & MASK
        value = (value * 5 + 0xE6546B64) & MASK
        block = 0
    return value, block, length


@compiled
def _push_code(state: tuple[int, int, int], code: int) -> tuple[int, int, int]:
    """One more code point, as UTF-8."""
    if code < 0x80:
        return _push(state, code)
    if code < 0x800:
        state = _push(state, 0xC0 | code >> 6)
    else:
        if code < 0x10000:
            state = _push(state, 0xE0 | code >> 12)
        else:
            state = _push(state, 0xF0 | code >> 18)
            state = _push(state, 0x80 | code >> 12 & 0x3F)
        state = _push(state, 0x80 | code >> 6 & 0x3F)
    return _push(state, 0x80 | code & 0x3F)


@compiled
def _bucket(state: tuple[int, int, int], features: int) -> int:
    """The bucket of a finished token; `features` is a power of two."""
    value, block, length = state
    if length & 3:
        value ^= _mix(block)
    value ^= length
    value = ((value ^ value >> 16) * 0x85EBCA6B) & MASK
    value = ((value ^ value >> 13) * 0xC2B2AE35) & MASK
    value ^= value >> 16
    return (MASK + 1 - value if value > MASK >> 1 else value) & (features - 1)


@compiled
def token_buckets(data: np.ndarray, start: int, end: int, table: np.ndarray, features: int, buckets: np.ndarray) -> int:
    """Write the bucket of each token of the UTF-8 data[start:end] to `buckets`, in order; return how many there are.

    `buckets` needs room for end - start of them. `table` is `character_table()`.
    """
    count, place = 0, start
    in_word, run, before = False, 0, 0
    state = (0, 0, 0)
    while place < end:
        code: Any = np.int64(data[place])  # signed, so that no sum of it becomes a float
        if code < 0x80:
            place += 1
        elif code < 0xE0:
            code = (code & 0x1F) << 6 | np.int64(data[place + 1] & 0x3F)
            place += 2
        elif code < 0xF0:
            code = (code & 0x0F) << 12 | np.int64(data[place + 1] & 0x3F) << 6 | np.int64(data[place + 2] & 0x3F)
            place += 3
        else:
            code = (code & 0x07) << 18 | np.int64(data[place + 1] & 0x3F) << 12
            code |= np.int64(data[place + 2] & 0x3F) << 6 | np.int64(data[place + 3] & 0x3F)
            place += 4
        kind: Any = 0
        if code < TABLE_SIZE:
            entry: Any = np.int64(table[code])
            kind, code = entry >> KIND_SHIFT, entry & 0xFFFFFF
        elif code < PAIRED_END:
            kind = PAIRED
        if kind == WORD:
            if not in_word:
                state, in_word = (0, 0, 0), True
            state = _push_code(state, code)
        elif in_word:
            buckets[count] = _bucket(state, features)
            count, in_word = count + 1, False
        if kind == PAIRED:
            if run:
                buckets[count] = _bucket(_push_code(_push_code((0, 0, 0), before), code), features)
                count += 1
            run, before = run + 1, code
        else:
            if run == 1:
                buckets[count] = _bucket(_push_code((0, 0, 0), before), features)
                count += 1
            run = 0
    if in_word:
        buckets[count] = _bucket(state, features)
        count += 1
    if run == 1:
        buckets[count] = _bucket(_push_code((0, 0, 0), before), features)
        count += 1
    return count


@compiled
def passage_logits(
    buckets: np.ndarray, passage: int, weights: np.ndarray, bias: float, values: np.ndarray, counts: np.ndarray
) -> float:
    """The mean logit of the passages of `passage` tokens that `buckets` falls into, weighted by their tokens.

    values  (passage + 1,) float64: what a token counts that is there so many times; see `token_values`
    counts  (features,) int16, all zero before and after
    """
    total = 0.0
    for start in range(0, len(buckets), passage):
        end = min(start + passage, len(buckets))
        for place in range(start, end):
            counts[buckets[place]] += 1
        product = squares = 0.0
        for place in range(start, end):
            bucket = buckets[place]
            there = counts[bucket]
            if there:
                value = values[there]
                product += value * weights[bucket]
                squares += value * value
                counts[bucket] = 0
        total += (product / np.sqrt(squares) + bias) * (end - start)
    return total / len(buckets) if len(buckets) else bias


@compiled
def score_documents(
    data: np.ndarray,
    ends: np.ndarray,
    table: np.ndarray,
    passage: int,
    weights: np.ndarray,
    bias: float,
    values: np.ndarray,
    counts: np.ndarray,
    buckets: np.ndarray,
    logits: np.ndarray,
) -> None:
    """Write the logit of each document to `logits`; their UTF-8 lies one after another in `data`, up to `ends`.

    `buckets` is int32 and needs as much room as the longest document has bytes.
    """
    start = 0
    for document in range(len(ends)):
        count = token_buckets(data, start, ends[document], table, len(weights), buckets)
        logits[document] = passage_logits(buckets[:count], passage, weights, bias, values, counts)
        start = ends[document]
