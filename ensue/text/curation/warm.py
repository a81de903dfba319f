"""Loaded by the server that workers are forked from: what compiled functions need before the first of them runs."""

from __future__ import annotations

import numba


@numba.njit("int64(int64)", cache=True)
def _same(number: int) -> int:
    return number


_same(0)
