"""Ensue: GPT, GPT-2 and GPT-3 end to end, from your own text. Torch is loaded when a model first is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ensue.generate.lm import LM
    from ensue.generate.load import load

__all__ = ["LM", "__version__", "load"]

try:
    __version__ = version("ensue")
except PackageNotFoundError:  # run from a clone that was not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    """`ensue.load` and `ensue.LM`, imported when first asked for, since they need torch."""
    if name == "load":
        from ensue.generate.load import load

        return load
    if name == "LM":
        from ensue.generate.lm import LM

        return LM
    raise AttributeError(f"module 'ensue' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
