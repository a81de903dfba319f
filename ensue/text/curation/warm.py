"""Loaded by the server that workers are forked from: what they would all load, or do, before they begin."""

from __future__ import annotations

import gc
from contextlib import suppress
from importlib import import_module

LOADED = ("ensue.text.curation.passes", "pyarrow.parquet", "numba", "ensue.cli")
"""What most steps need; and the command line, which every worker of it imports as its main module."""


def _load() -> None:
    for name in LOADED:
        with suppress(ImportError):  # what is not installed is passed over
            import_module(name)


def _compile() -> None:
    """Run a compiled function: the first one has numba load what all need."""
    import numba

    @numba.njit("int64(int64)", cache=True)
    def same(number: int) -> int:
        return number

    same(0)


gc.disable()  # modules are no garbage, and looking for some takes a third as long as loading them
_load()
with suppress(ImportError):
    _compile()
gc.freeze()  # so that workers need not look through it either
gc.enable()
