"""What only those who make runs and mixtures know of them; whoever opens a studio hands it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.core.run import RunFolder

SpanText = Callable[[str, int, int], str]
"""From a part of a run's data, "" where it has one only, and a span of its tokens to their text."""


@dataclass(frozen=True)
class RunRecords:
    """How records of runs are read. Each raises ValueError or FileNotFoundError for what is not there, or has changed.

    why      of a run and a step of it, counted from 1: what `ensue why --json` says
    texts    of a run and a step of it: how the tokens that it could read are decoded
    rows     of a table that a run was tuned on: the values of each row, by its source
    sources  of a mixture's folder: the folders of the data that it is made of
    """

    why: Callable[[RunFolder, int], Mapping[str, Any]]
    texts: Callable[[RunFolder, int], SpanText]
    rows: Callable[[Path], Mapping[str, Mapping[str, Any]]]
    sources: Callable[[Path], Sequence[Path]]
