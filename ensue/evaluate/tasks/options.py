"""Items of options as most tasks ask them: one context, and several ways to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ensue.evaluate.task import Choices, Option


def continuations(context: str, endings: Sequence[str], answer: int, *, key: Any = None) -> Choices:
    """Several endings of one context, each after a space; the right one counted from 0."""
    return Choices(tuple(Option(context, " " + ending) for ending in endings), answer, key)
