"""What the steps of a run read: its stream as it was, and the steps that read given tokens of its training data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensue.core.run import RunFolder, read_rows
from ensue.recipes.data import Data
from ensue.recipes.parts import stream_of
from ensue.recipes.resuming import config_at
from ensue.recipes.run_config import RunConfig
from ensue.tokens.mixture import PLACE_BITS
from ensue.tokens.moved import MovedStream
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
    parts    (N,) of every sequence that a step has read, in order: the part it is from
    places   (N,) where in that part's shard it begins
    steps    (N,) the step, counted from 1, that read it
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


def stream_at(run: RunFolder, step: int) -> tuple[RunConfig, Data, MovedStream]:
    """The config that step `step` (counted from 1) was trained with, its data, and its stream with what rollbacks have
    moved on."""
    config = config_at(run, step)
    data = Data(run.path.resolve() / config.data)
    stream = stream_of(config, data, Place())
    stream.moves = [(row["step"] - 1, row["moved"]) for row in read_rows(run.receipts_path) if "moved" in row]
    return config, data, stream


def last_step(run: RunFolder) -> int:
    """The newest step that the run's metrics tell of; 0 where there is none."""
    return max((row["step"] for row in run.rows() if "loss" in row), default=0)


def reading_of(path: Path) -> RunReading:
    """What the run at `path` has read up to its newest step. Raises ValueError for one that has no step yet."""
    run = RunFolder.open(path)
    last = last_step(run)
    if not last:
        raise ValueError(f"{path} has not trained a step yet.")
    config, data, stream = stream_at(run, last)
    places = [stream.places(step) for step in range(last)]
    steps = np.repeat(np.arange(1, last + 1), [len(each) for each in places])
    whole = np.concatenate(places)
    return RunReading(data, whole >> PLACE_BITS, whole & ((1 << PLACE_BITS) - 1), steps, config.model.context)
