"""Loaded last by the server that workers are forked from: what they would all do before they begin."""

from __future__ import annotations

import gc

import numba


@numba.njit("int64(int64)", cache=True)
def _same(number: int) -> int:
    return number


_same(0)  # the first compiled function that runs has numba load what all need
gc.collect()
gc.freeze()  # none of what is loaded by now is ever garbage, so that workers need not look through it
