"""A run that ended before its last step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ensue.train.engine import Diverged


class RunFailed(Exception):
    """Says what happened and what to type next; `code` is the process's exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def diverged(error: Diverged, read: Sequence[str], *, kind: str, newest: Path, rate: str) -> RunFailed:
    """Of a step whose loss or gradient is no number: `read` are the `kind` of things in it, `rate` is the option of the
    learning rate."""
    lines = "\n".join(f"  {line}" for line in read[:20])
    more = f"\n  and {len(read) - 20} more" if len(read) > 20 else ""
    return RunFailed(
        f"step {error.step + 1}: {error.what} is not a finite number, so no weight was changed.\n"
        f"{kind} in that step:\n{lines}{more}\n"
        f"The last good checkpoint is {newest}. A lower {rate} usually helps; "
        "--precision fp32 tells whether rounding is the cause.",
        3,
    )
