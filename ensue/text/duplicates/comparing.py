"""Which collections are compared with which, and whose documents stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Across = str | tuple[tuple[str, str], ...]
"""Of different collections: "all", "none", or the pairs (first, second) where documents of the second are dropped for
those of the first."""


@dataclass
class CollectionCodes:
    """Collections numbered in the order in which they come up."""

    codes: dict[str, int] = field(default_factory=dict)

    def of(self, names: np.ndarray) -> np.ndarray:
        """Codes of (N,) names, as uint64."""
        found, firsts, which = np.unique(names, return_index=True, return_inverse=True)
        for index in np.argsort(firsts):
            self.codes.setdefault(str(found[index]), len(self.codes))
        return np.array([self.codes[str(name)] for name in found], np.uint64)[which]

    @property
    def names(self) -> list[str]:
        """By code."""
        return list(self.codes)


def check_across(across: Across, prefer: Sequence[str]) -> None:
    """Raise ValueError for settings that say nothing, or that go round in a circle."""
    if isinstance(across, str):
        if across not in ("all", "none"):
            raise ValueError(f'across={across!r} is not "all", "none" or pairs such as (("webtext", "commoncrawl"),).')
        return
    in_order(sorted({name for pair in across for name in pair}), across, prefer)


def in_order(names: Sequence[str], across: Across, prefer: Sequence[str]) -> list[list[str]]:
    """Collections by rank: those named in `prefer` first, each for itself, then all others together; but with pairs,
    each has a rank of its own, after those that it is dropped for. Raises ValueError if pairs form a circle."""
    named = [name for name in prefer if name in names]
    others = [name for name in names if name not in prefer]
    if isinstance(across, str):
        return [[name] for name in named] + ([others] if others else [])
    waiting, ranks = named + sorted(others), list[list[str]]()
    while waiting:
        free = [name for name in waiting if not any(after == name and before in waiting for before, after in across)]
        if not free:
            raise ValueError(
                f"across: {', '.join(waiting)} would each be dropped for another of them; leave one pair out, or take "
                'across="all" with prefer=(...) to say whose documents stay.'
            )
        ranks.append([free[0]])
        waiting.remove(free[0])
    return ranks


def dropping(names: Sequence[str], within: bool, across: Across) -> np.ndarray:
    """(C, C) bool: whether a document of the first collection can be the reason to drop one of the second."""
    table = np.full((len(names), len(names)), across == "all")
    if not isinstance(across, str):
        for before, after in across:
            if before in names and after in names:
                table[names.index(before), names.index(after)] = True
    np.fill_diagonal(table, within)
    return table
