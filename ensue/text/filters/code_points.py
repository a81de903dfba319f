"""What Python's Unicode tables say of every code point, as arrays, built in hundredths of a second."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import numpy as np


def lower_cases(count: int) -> np.ndarray:
    """The lower case of each of the first `count` code points, the first character of it, by itself; uint32."""
    codes = np.arange(count, dtype=np.uint32)
    # Zeros between them, since what stands beside a sigma decides its lower case; the first character is one itself.
    lowered = _codes(_text(np.stack([codes, np.zeros_like(codes)], axis=1)).lower())
    lower: np.ndarray = lowered[np.concatenate([[0], np.flatnonzero(lowered == 0)[1:-1] + 1])]
    return lower


def those(count: int, says: Callable[[str], bool]) -> np.ndarray:
    """Which of the first `count` code points a predicate of strings, such as str.isalnum, holds of; bool."""
    return np.frombuffer(bytearray(map(says, _text(np.arange(count, dtype=np.uint32)))), bool)


def in_categories(codes: np.ndarray, letters: str) -> np.ndarray:
    """Which of these code points (uint32) are in a category beginning with one of the letters, such as "LNM"; bool."""
    first = _codes("".join(map(unicodedata.category, _text(codes))))[::2]
    return np.isin(first, _codes(letters))


def _text(codes: np.ndarray) -> str:
    text: str = codes.tobytes().decode("utf-32-le", "surrogatepass")
    return text


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
