"""The numbers that shingle hashes and permutations are made of, shared by the compiled kernel and its slow twin."""

from __future__ import annotations

from functools import cache

import numpy as np

from ensue.core.seeds import seed_for

BASE = np.uint64(0x9E3779B97F4A7C15)
MIX = np.uint64(0xBF58476D1CE4E5B9)
WORD_SEED = np.uint64(0xCBF29CE484222325)
CHARACTER_SEED = np.uint64(0x94D049BB133111EB)
"""Odd numbers whose bits look random: of rolling hashes, of mixing, and where words and characters begin."""

WORDS, CHARACTERS = 0, 1
"""The kinds of shingles."""


@cache
def permutations(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors (odd) and offsets, (count,) uint32 each; the first ones are the same for any count."""
    a = [seed_for(0, "minhash factor", index) & 0xFFFFFFFF | 1 for index in range(count)]
    b = [seed_for(0, "minhash offset", index) & 0xFFFFFFFF for index in range(count)]
    return np.array(a, np.uint32), np.array(b, np.uint32)
