"""The baseline of the time-to-quality benchmark: the well-known CPU recipe for characters, in plain PyTorch.

Legend: B rows, T context, V distinct characters, H heads, D width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain import PlainGPT
from benchmarks.quality_task import Characters, Watch, validation_loss
from ensue.tokens.shards import Shard


def train_baseline(
    characters: Characters, watch: Watch, *, seed: int, steps: int, rows: int = 12
) -> tuple[PlainGPT, int, int]:
    """The model after the well-known CPU recipe in plain PyTorch, fp32; its steps and its tokens."""
    torch.manual_seed(seed)
    model = PlainGPT(characters.vocab)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [each for each in parameters if each.dim() >= 2], "weight_decay": 0.1},
            {"params": [each for each in parameters if each.dim() < 2], "weight_decay": 0.0},
        ],
        lr=1e-3,
        betas=(0.9, 0.99),
    )

    def loss() -> float:
        return validation_loss(model, characters.validation, model.context)

    for step, (tokens, targets) in enumerate(_random_windows(characters.train, rows, model.context, seed, steps)):
        for group in optimizer.param_groups:
            group["lr"] = _baseline_rate(step, steps)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten()).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        watch.read((step + 1) / steps, loss)
    return model, steps, steps * rows * model.context


def _baseline_rate(step: int, steps: int, *, warmup: int = 100) -> float:
    """Linear warm-up to 1e-3, then cosine to 1e-4."""
    if step < warmup:
        return 1e-3 * (step + 1) / warmup
    return 1e-4 + 9e-4 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _random_windows(text: Shard, rows: int, context: int, seed: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets (B, T) int64 of each step, from anywhere in the text."""
    generator = np.random.default_rng(seed)
    ids = np.asarray(text.tokens, np.int64)
    for _ in range(steps):
        starts = generator.integers(0, len(ids) - context, rows)
        windows = torch.from_numpy(ids[starts[:, None] + np.arange(context + 1)])  # (B, T+1)
        yield windows[:, :-1], windows[:, 1:]
