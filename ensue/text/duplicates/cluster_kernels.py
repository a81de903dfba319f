"""The compiled loops of deciding: pairs from buckets, Jaccard, union-find, the choice in a cluster. Needs numba.

Rows are uint64. A place is a document's index in the corpus, from 0 on, with its collection in the upper 16 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

PLACE_BITS = 48
PLACE_MASK = np.uint64((1 << PLACE_BITS) - 1)


def _pair_up(rows: Any, comparable: Any, state: Any, recent: Any, firsts: Any, same: Any, out: Any) -> int:
    """Write the pairs (earlier index, later index) to compare for a block of the buckets' rows; return how many.

    rows        (n, 3): key, tie, place, sorted. Rows with one key are a bucket; with one tie too, alike
    comparable  (C, C) bool of collections
    state       (4,): key and tie of the row before, how many were looked at in this bucket, whether there was a row
    recent      (W,), firsts (F,): places last and first looked at in this bucket
    same        (C,): the first place of this tie in each collection, or all ones
    out         (n (W + F), 2), written
    """
    count = 0
    none = np.uint64(0xFFFFFFFFFFFFFFFF)
    for row in range(len(rows)):
        key, tie, place = rows[row, 0], rows[row, 1], rows[row, 2]
        collection = place >> np.uint64(PLACE_BITS)
        if state[3] == 0 or key != state[0]:
            state[0], state[2], state[3] = key, np.uint64(0), np.uint64(1)
            state[1] = tie
            same[:] = none
        elif tie != state[1]:
            state[1] = tie
            same[:] = none
        if same[collection] != none and comparable[collection, collection]:
            count = write_pair(out, count, same[collection], place)
            continue
        if same[collection] == none:
            same[collection] = place
        seen: Any = np.int64(state[2])
        for index in range(min(seen, len(recent))):
            other = recent[index]
            if comparable[other >> np.uint64(PLACE_BITS), collection]:
                count = write_pair(out, count, other, place)
        for index in range(min(seen - len(recent), len(firsts))):
            other = firsts[index]
            if comparable[other >> np.uint64(PLACE_BITS), collection]:
                count = write_pair(out, count, other, place)
        if seen < len(firsts):
            firsts[seen] = place
        recent[seen % len(recent)] = place
        state[2] = np.uint64(seen + 1)
    return count


def _write_pair(out: Any, count: int, one: Any, other: Any) -> int:
    left, right = one & PLACE_MASK, other & PLACE_MASK
    out[count, 0], out[count, 1] = min(left, right), max(left, right)
    return count + 1


def _jaccard(hashes: Any, starts: Any, stops: Any, limits: Any, out: Any) -> None:
    """Jaccard similarity of pairs of sets: those at [starts[n, 0], stops[n, 0]) and [starts[n, 1], stops[n, 1]).

    Of sets that are not all there, what both have up to the lower of their limits is compared.
    """
    for pair in range(len(out)):
        limit = min(limits[pair, 0], limits[pair, 1])
        left, last_left = starts[pair, 0], stops[pair, 0]
        right, last_right = starts[pair, 1], stops[pair, 1]
        shared, either = 0, 0
        while left < last_left or right < last_right:
            if right == last_right or (left < last_left and hashes[left] < hashes[right]):
                value, left = hashes[left], left + 1
                found = 0
            elif left == last_left or hashes[right] < hashes[left]:
                value, right = hashes[right], right + 1
                found = 0
            else:
                value, left, right = hashes[left], left + 1, right + 1
                found = 1
            if value > limit:
                break
            shared += found
            either += 1
        out[pair] = shared / either if either else 0.0


def _find(parent: Any, index: Any) -> Any:
    """The root of a tree, halving the way to it."""
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _join(parent: Any, pairs: Any) -> None:
    """Put pairs into one tree each; the root is the earliest document, so parents are never later than children."""
    for pair in range(len(pairs)):
        one, other = find(parent, np.int64(pairs[pair, 0])), find(parent, np.int64(pairs[pair, 1]))
        if one < other:
            parent[other] = one
        elif other < one:
            parent[one] = other


def _flatten(parent: Any, sizes: Any, first: int, last: int) -> None:
    """Have documents first <= n < last point at their roots, all before them having been done; count at the root."""
    for index in range(first, last):
        if parent[index] != index:
            parent[index] = parent[parent[index]]
            sizes[parent[index]] += 1


def _choose(rows: Any, drops: Any, state: Any, kept: Any, out: Any) -> int:
    """Which documents of clusters are dropped, and for which kept one; return how many.

    rows   (n, 4): root, rank, longest first, place, sorted
    drops  (C, C) bool: whether a document of the first collection can be the reason to drop one of the second
    state  (3,): root of the row before, documents kept of this cluster, whether there was a row
    kept   (2, C): the first kept place in each collection, and the how-manieth of all kept it was, or all ones
    out    (n, 3), written: dropped index, kept index, root
    """
    count = 0
    none = np.uint64(0xFFFFFFFFFFFFFFFF)
    for row in range(len(rows)):
        root, place = rows[row, 0], rows[row, 3]
        if state[2] == 0 or root != state[0]:
            state[0], state[1], state[2] = root, np.uint64(0), np.uint64(1)
            kept[:] = none
        collection = place >> np.uint64(PLACE_BITS)
        best = none
        for other in range(kept.shape[1]):
            if drops[other, collection] and kept[1, other] < best:
                best = kept[1, other]
                out[count, 1] = kept[0, other] & PLACE_MASK
        if best != none:
            out[count, 0], out[count, 2] = place & PLACE_MASK, root
            count += 1
        elif kept[1, collection] == none:
            kept[0, collection], kept[1, collection] = place, state[1]
            state[1] += np.uint64(1)
    return count


_compiled: Any = njit(cache=True, nogil=True)
write_pair: Any = njit(inline="always")(_write_pair)
pair_up: Any = _compiled(_pair_up)
jaccard: Any = _compiled(_jaccard)
find: Any = njit(inline="always")(_find)
join: Any = _compiled(_join)
flatten: Any = _compiled(_flatten)
choose: Any = _compiled(_choose)
