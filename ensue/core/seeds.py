"""Named seeds: every random choice in Ensue is a function of one seed and the names of what is being chosen."""

from __future__ import annotations

import hashlib


def seed_for(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one purpose, the same on every machine and in every process.

    `seed_for(7, "dropout", 812, 0)` depends on nothing but its arguments, so a resumed run draws what an uninterrupted
    one would have drawn, and no generator state has to be stored.
    """
    text = "\x1f".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
