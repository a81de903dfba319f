"""Items of options as most tasks ask them: one context, and several ways to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ensue.evaluate.task import Choices, Option


def continuations(context: str, endings: Sequence[str], answer: int, *, key: Any = None) -> Choices:
    """Several endings of one context, each after a space; the right one counted from 0.

    Raises ValueError for an empty ending.
    """
    empty = [place for place, ending in enumerate(endings) if not ending.strip()]
    if empty:
        raise ValueError(f"option {empty[0]}, counted from 0, is empty")
    return Choices(tuple(Option(context, " " + ending) for ending in endings), answer, key)
