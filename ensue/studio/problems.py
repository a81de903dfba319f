"""What went wrong, for a person: a text's key and the facts in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A message of `texts`, and what it speaks of."""

    key: str
    facts: tuple[str, ...] = ()


def problem_of(error: BaseException) -> Problem:
    """An error as a message: what a ValueError or a missing file says is for people already."""
    if isinstance(error, FileNotFoundError):
        return Problem("problem.missing", (str(error),))
    if isinstance(error, ValueError):
        return Problem("problem.said", (str(error),))
    return Problem("problem.failed", (f"{type(error).__name__}: {error}",))
