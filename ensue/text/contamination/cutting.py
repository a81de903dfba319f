"""A document without the places where evaluation text stands in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cut:
    """What is left of a text: its pieces in order, short ones too, and how many places and characters were cut out."""

    pieces: tuple[str, ...]
    places: int
    characters: int


def cut_out(text: str, starts: np.ndarray, stops: np.ndarray, *, window: int) -> Cut:
    """Take out the characters starts <= i < stops and `window` more on both sides of each.

    `starts` ascend; places whose windows meet are one.
    """
    lows, highs = np.maximum(starts - window, 0), np.minimum(stops + window, len(text))
    reached = np.maximum.accumulate(highs)
    first = np.flatnonzero(np.append(True, lows[1:] > reached[:-1]))  # (P,) where a new place begins
    lows, highs = lows[first], reached[np.append(first[1:], len(reached)) - 1]
    edges = zip([0, *highs.tolist()], [*lows.tolist(), len(text)], strict=True)
    pieces = tuple(text[low:high] for low, high in edges if low < high)
    return Cut(pieces, len(lows), int((highs - lows).sum()))
