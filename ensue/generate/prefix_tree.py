"""The tree of what requests have in common: each stretch of tokens that several begin with is in it once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Ids = Sequence[int]


@dataclass(frozen=True)
class Node:
    """Tokens `begin` to `end` of the rows `first` to `last` - 1 (in sorted order), which are the same up to `end`.

    `parent` is the place of the node that holds what comes before (-1 for none), `below` how many tokens the nodes
    under it hold, and `children` their places.
    """

    begin: int
    end: int
    first: int
    last: int
    parent: int
    children: tuple[int, ...]
    below: int

    @property
    def length(self) -> int:
        return self.end - self.begin


def prefix_tree(rows: Sequence[Ids]) -> list[Node]:
    """The nodes of distinct rows in sorted order, every one after its parent; the first is the root.

    The root is empty where the rows have no first token in common.
    """
    spans: list[tuple[int, int, int, int, int]] = []
    children: list[list[int]] = []
    waiting = [(0, 0, len(rows), -1)]
    while waiting:
        begin, first, last, parent = waiting.pop()
        end = _shared(rows[first], rows[last - 1])
        if parent >= 0:
            children[parent].append(len(spans))
        waiting.extend((end, *part, len(spans)) for part in reversed(_parts(rows, first, last, end)))
        spans.append((begin, end, first, last, parent))
        children.append([])
    below = [0] * len(spans)
    for place in range(len(spans) - 1, 0, -1):
        begin, end, _, _, parent = spans[place]
        below[parent] += below[place] + end - begin
    return [Node(*span, tuple(under), size) for span, under, size in zip(spans, children, below, strict=True)]


def _shared(one: Ids, other: Ids) -> int:
    """How many tokens two rows have in common at their beginnings."""
    lengths = range(1, min(len(one), len(other)) + 1)
    return bisect_left(lengths, True, key=lambda length: one[:length] != other[:length])


def _parts(rows: Sequence[Ids], first: int, last: int, end: int) -> list[tuple[int, int]]:
    """Runs of rows that go on with the same token at `end`; the row that ends there, if any, is in none."""
    first += len(rows[first]) == end
    starts = [row for row in range(first, last) if row == first or rows[row][end] != rows[row - 1][end]]
    return [*pairwise([*starts, last])]
