"""Loaded by the server that workers are forked from: what they would all load, or do, before they begin."""

from __future__ import annotations

import gc
from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules

LOADED = ("ensue.text.curation.passes", "pyarrow.parquet", "numba", "tyro")
"""What most steps need, and the command line imports, which is the main module of each of its workers too."""

VERBS = "ensue.verbs"


def _load() -> None:
    verbs = [f"{VERBS}.{verb.name}" for verb in iter_modules(import_module(VERBS).__path__)]
    for name in (*LOADED, *verbs):
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
