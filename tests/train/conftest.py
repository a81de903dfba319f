"""A small real GPT, batches made here, and the engine around them, for every test of the training loop."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from ensue.loss.next_token import NextToken
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.tokens.batch import Batch
from ensue.tokens.stream import BatchRamp
from ensue.train.engine import Engine
from ensue.train.optimizer import Optimizer, OptimizerConfig
from ensue.train.schedule import Schedule

VOCAB, CONTEXT = 13, 8
SMALL = gpt2(layers=2, width=16, heads=2, context=CONTEXT, vocab=VOCAB)


@dataclass
class MemoryStream:
    """Step s takes the next rows of an endless random text, cut into micro-batches of the sizes given.

    Row r counts only its first r % 8 + 1 targets, so that no two micro-batches weigh the same. `before` is called with
    each step, and may do what happens to a process in the middle of one.
    """

    sizes: tuple[int, ...] = (4,)
    ramp: BatchRamp = field(default_factory=lambda: BatchRamp(4, 4))
    before: Callable[[int], None] = lambda step: None
    poisoned: int | None = None

    def batches(self, step: int) -> Iterator[Batch]:
        self.before(step)
        rows, place = self.documents(step), 0
        while rows:
            size = self.sizes[min(place, len(self.sizes) - 1)]
            yield self._batch(rows[:size], last=step == self.poisoned and size >= len(rows))
            rows, place = rows[size:], place + 1

    def documents(self, step: int) -> list[int]:
        return list(range(self.ramp.before(step), self.ramp.before(step) + self.ramp.at(step)))

    def _batch(self, rows: list[int], *, last: bool) -> Batch:
        drawn = [torch.randint(VOCAB, (CONTEXT + 1,), generator=torch.Generator().manual_seed(row)) for row in rows]
        text = torch.stack(drawn)
        weights = torch.stack([(torch.arange(CONTEXT) <= row % CONTEXT).float() for row in rows])
        if last:
            weights[-1, 0] = float("nan")
        return Batch(text[:, :-1], text[:, 1:], weights)


@pytest.fixture
def make_stream() -> type[MemoryStream]:
    return MemoryStream


@pytest.fixture
def make_engine() -> Callable[..., Engine]:
    """An engine over a fresh small GPT; whatever is not said is plain AdamW on a linear schedule of 10 steps."""

    def make(
        config: GPTConfig = SMALL,
        *,
        model: GPT | None = None,
        stream: Any = None,
        objective: Any = None,
        optimizer: OptimizerConfig | None = None,
        schedule: Schedule | None = None,
        clip: float | None = None,
        dtype: torch.dtype = torch.float32,
        precision: str = "fp32",
        seed: int = 5,
    ) -> Engine:
        model = (GPT.build(config, seed=1) if model is None else model).to(dtype)
        return Engine(
            model=model,
            objective=NextToken() if objective is None else objective,
            stream=MemoryStream() if stream is None else stream,
            optimizer=Optimizer(model, OptimizerConfig(lr=1e-2) if optimizer is None else optimizer),
            schedule=Schedule("linear", warmup=2, steps=10) if schedule is None else schedule,
            clip=clip,
            device=torch.device("cpu"),
            precision=precision,
            seed=seed,
        )

    return make


@pytest.fixture
def signal_self() -> Callable[[int], None]:
    """Send this process a real signal; Python runs its handler before the next line."""

    def send(number: int) -> None:
        os.kill(os.getpid(), number)

    return send
