"""The steps of a run that read given tokens of its training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensue.core.run import RunFolder, read_rows
from ensue.recipes.data import Data
from ensue.recipes.parts import stream_of
from ensue.recipes.resuming import config_at
from ensue.tokens.mixture import PLACE_BITS
from ensue.train.parallel import Place


@dataclass(frozen=True)
class TokenPlace:
    """A token of the training data: which part's shard (0 where there is but one), and where in it."""

    part: int
    token: int


@dataclass(frozen=True)
class RunReading:
    """What a run has read so far.

    data     its data
    parts    (S, B) or ragged: for each sequence of each step the part it is from
    places   where in that part's shard each begins
    steps    the step, counted from 1, of each sequence
    context  tokens of a sequence; the token behind its last one is read as a target
    """

    data: Data
    parts: np.ndarray
    places: np.ndarray
    steps: np.ndarray
    context: int

    def steps_that_read(self, token: TokenPlace) -> list[int]:
        """The steps that read this token or foretold it, in order."""
        size = len(self.data.parts[token.part].train.tokens)
        within = (token.token - self.places) % size <= self.context
        found: list[int] = np.unique(self.steps[within & (self.parts == token.part)]).tolist()
        return found


def reading_of(path: Path) -> RunReading:
    """What the run at `path` has read up to its newest step. Raises ValueError for one that has no step yet."""
    run = RunFolder.open(path)
    last = max((row["step"] for row in run.rows() if "loss" in row), default=0)
    if not last:
        raise ValueError(f"{path} has not trained a step yet.")
    config = config_at(run, last)
    data = Data(run.path.resolve() / config.data)
    stream = stream_of(config, data, Place())
    stream.moves = [(row["step"] - 1, row["moved"]) for row in read_rows(run.receipts_path) if "moved" in row]
    places = [stream.places(step) for step in range(last)]
    steps = np.repeat(np.arange(1, last + 1), [len(each) for each in places])
    whole = np.concatenate(places)
    return RunReading(data, whole >> PLACE_BITS, whole & ((1 << PLACE_BITS) - 1), steps, config.model.context)


def first_steps(reading: RunReading, tokens: Sequence[TokenPlace]) -> list[int | None]:
    """The first step that read each token, None where none has."""
    found = [reading.steps_that_read(token) for token in tokens]
    return [steps[0] if steps else None for steps in found]
