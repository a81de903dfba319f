"""The walk of the language model's automaton over a text, compiled. Imported where it is used, since numba takes a
while to load."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def find_features(data: np.ndarray, automaton: Any, counts: np.ndarray, found: np.ndarray) -> int:
    """How many features are in the UTF-8 `data`: they are written to `found` in the order they first come, and how
    often each is there to `counts`, which is by feature and all 0 before."""
    moves, rows, features = automaton
    state, kinds = np.int64(0), 0
    for byte in data:
        state = np.int64(moves[(np.int64(rows[state]) << 8) + byte])
        feature = features[state]
        if feature >= 0:
            if counts[feature] == 0:
                found[kinds] = feature
                kinds += 1
            counts[feature] += 1
    return kinds
