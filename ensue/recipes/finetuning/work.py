"""What a task gives the driver: what trains, on what, how it is read along the way, and what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from ensue.generate.lm import LM
from ensue.loss.types import Objective
from ensue.train.engine import Stream


class EpochStream(Stream, Protocol):
    """A stream that goes through its examples epoch by epoch."""

    steps_per_epoch: int

    def tokens(self, step: int) -> int:
        """Tokens that this step reads, without padding."""

    def padding(self) -> float:
        """The share of padding in what the first epoch feeds."""


@dataclass(frozen=True)
class Work:
    """The parts of a fine-tuning run that its task decides; the driver knows no task.

    `model` is on its device. `read` reads the validation examples, as name -> value with a "loss" among them, or is
    None where there are none; of it, `metric` decides which checkpoint is the best. `files` and `tensors` make a
    checkpoint's folder one that `ensue.load` opens, `lm` is the model in it as it stands, and `identity` tells the
    examples apart from others.
    """

    model: nn.Module
    objective: Objective[Any]
    stream: EpochStream
    read: Callable[[], Mapping[str, float]] | None
    metric: str
    files: Mapping[str, bytes]
    tensors: Callable[[], Mapping[str, Mapping[str, Tensor]]]
    lm: Callable[[Path], LM]
    identity: Mapping[str, str]
    told: tuple[str, ...] = ()
    """Lines for a person, before the first step."""
