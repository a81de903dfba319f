"""What the contenders of the time-to-quality benchmark share: the text, the clock, and how a model is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ensue.tokens.shards import Shard
from ensue.tokens.stream import evaluation_batches

READ_ROWS = 64
"""Rows of a batch that is only read."""


@dataclass(frozen=True)
class Characters:
    """A text with one token for each character, its first 90% to train on and the rest to read."""

    train: Shard
    validation: Shard

    @classmethod
    def of(cls, path: Path) -> Characters:
        """Ids are in the order of code points. Raises ValueError for a text too short to cut."""
        codes = np.frombuffer(path.read_text(encoding="utf-8").encode("utf-32-le"), np.uint32)
        if len(codes) < 10_000:
            raise ValueError(f"{path} has {len(codes):,} characters; give a text of 10,000 or more with --text.")
        characters, ids = np.unique(codes, return_inverse=True)
        cut = int(len(codes) * 0.9)
        parts = [
            Shard(
                folder=path,
                tokens=part.astype(np.uint16),
                starts=np.zeros(1, np.int64),
                count=1,
                bytes=len(characters[part].tobytes().decode("utf-32-le").encode()),
                vocab_size=len(characters),
                end=0,
                fingerprint="characters",
            )
            for part in (ids[:cut], ids[cut:])
        ]
        return cls(*parts)

    @property
    def vocab(self) -> int:
        return self.train.vocab_size


class Watch:
    """Seconds since it was made, less those spent reading; it reads at each of `readings` equal parts of the way."""

    def __init__(self, readings: int) -> None:
        self.readings = readings
        self.curve: list[tuple[float, float]] = []
        self._begun = time.perf_counter()
        self._reading = 0.0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begun - self._reading

    def read(self, done: float, loss: Callable[[], float]) -> None:
        """Take a reading if the share `done` of the way is past where the next one is due; 1.0 is the last."""
        if done * self.readings < len(self.curve) + 1:
            return
        seconds, begun = self.seconds, time.perf_counter()
        self.curve.append((seconds, loss()))
        self._reading += time.perf_counter() - begun


@torch.no_grad()
def validation_loss(logits: Callable[[Tensor], Tensor], text: Shard, context: int) -> float:
    """Nats a character: each of the text's characters a target once, in windows of the context that do not overlap."""
    nats = 0.0
    for batch in evaluation_batches(text, context=context, micro_batch=READ_ROWS):
        each = F.cross_entropy(logits(batch.tokens).float().flatten(0, 1), batch.targets.flatten(), reduction="none")
        nats += float(each.double() @ batch.weights.flatten().double())
    return nats / len(text.tokens)
