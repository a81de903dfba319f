"""The papers' own training settings, at any size, and today's: what differs is said here and nowhere else.

Lengths the papers give in tokens are kept as shares of the whole run, so that a small run has the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from ensue.model.config import GPTConfig
from ensue.model.patterns import TwoWay
from ensue.model.presets import gpt, gpt2, gpt3, modern
from ensue.recipes.run_config import RunConfig
from ensue.tokens.stream import BatchRamp
from ensue.train.optimizer import OptimizerConfig
from ensue.train.schedule import Schedule

GPT3_RATES = (
    (125e6, 6.0e-4),
    (350e6, 3.0e-4),
    (760e6, 2.5e-4),
    (1.3e9, 2.0e-4),
    (2.7e9, 1.6e-4),
    (6.7e9, 1.2e-4),
    (13e9, 1.0e-4),
    (175e9, 0.6e-4),
)
"""GPT-3 (2020), table 2.1: parameters and peak learning rate."""

GPT3_BATCHES = ((125e6, 0.5e6), (760e6, 0.5e6), (1.3e9, 1e6), (2.7e9, 1e6), (6.7e9, 2e6), (13e9, 2e6), (175e9, 3.2e6))
"""GPT-3 (2020), table 2.1: parameters and batch in tokens."""

GPT3_TOKENS, GPT3_WARMUP, GPT3_DECAY, GPT3_RAMP, GPT3_FIRST_BATCH = 300e9, 375e6, 260e9, 8e9, 32e3
"""GPT-3 (2020), appendix B, in tokens: the run, warm-up, cosine, batch ramp (4 to 12 billion), first batch."""

BERT_MASKED = 0.15
"""Devlin et al. (2019), section 3.1: the share of tokens that are foretold."""

ACTIVATION_BYTES = 3 << 30
"""What the activations of one micro-batch may take; it bounds memory and changes no result."""


@dataclass(frozen=True)
class Recipe:
    """Whose parts and whose settings. `train(model, epoch_tokens, steps)` completes everything but data and seed."""

    architecture: Callable[..., GPTConfig]
    preset: str
    train: Callable[[GPTConfig, int, int | None], RunConfig]


def train_gpt(model: GPTConfig, epoch_tokens: int, steps: int | None) -> RunConfig:
    """GPT (2018), section 4.1: 64 sequences, 2.5e-4 after 2,000 steps, cosine to 0, 100 epochs, decay 0.01."""
    batch = 64
    steps = steps or _steps(100 * epoch_tokens, batch * model.context)
    optimizer = OptimizerConfig(lr=2.5e-4, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01, clip=1.0)
    schedule = Schedule("cosine", warmup=min(2000, steps // 10), steps=steps)
    return _config("gpt", model, optimizer, schedule, BatchRamp(batch, batch), "100 epochs unless steps are said")


def bert(*, layers: int = 12, width: int = 768, heads: int = 12, context: int = 512, vocab: int = 40_478) -> GPTConfig:
    """GPT (2018) in which every position sees every other; BERT's base model has its size for the sake of comparison
    (Devlin et al. 2019, section 3)."""
    shape = gpt(layers=layers, width=width, heads=heads, context=context, vocab=vocab)
    return replace(shape, patterns=(TwoWay(),))


def train_bert(model: GPTConfig, epoch_tokens: int, steps: int | None) -> RunConfig:
    """BERT's masked tokens (Devlin et al. 2019, section 3.1) without its sentence pairs; all else as GPT's (2018)."""
    config = train_gpt(model, epoch_tokens, steps)
    return replace(
        config,
        model=replace(model, patterns=(TwoWay(),)),
        masked=BERT_MASKED,
        recipe="bert",
        sample_every=0,
        reasons=(f"recipe bert: GPT's settings with {BERT_MASKED:.0%} of the tokens hidden", *config.reasons),
    )


def train_gpt2(model: GPTConfig, epoch_tokens: int, steps: int | None) -> RunConfig:
    """GPT-2 (2019), section 2.3: 512 sequences. It prints no rate, schedule or length; GPT-3's stand in for them."""
    batch = 512
    steps = steps or _steps(10 * epoch_tokens, batch * model.context)
    optimizer = OptimizerConfig(lr=_between(GPT3_RATES, model.parameters))
    schedule = Schedule("cosine", warmup=max(1, steps // 100), steps=steps)
    note = "GPT-2 prints no learning rate, schedule or length: GPT-3's rate for this size, cosine to 0, 10 epochs"
    return _config("gpt2", model, optimizer, schedule, BatchRamp(batch, batch), note)


def train_gpt3(model: GPTConfig, epoch_tokens: int, steps: int | None) -> RunConfig:
    """GPT-3 (2020), table 2.1 and appendix B: rate and batch by size, warm-up, cosine to 10%, then flat; batch ramp."""
    batch = max(1, round(_between(GPT3_BATCHES, model.parameters) / model.context))
    steps = steps or _steps(epoch_tokens, batch * model.context)
    first = max(1, min(batch, round(GPT3_FIRST_BATCH / model.context)))
    warmup = max(1, round(steps * GPT3_WARMUP / GPT3_TOKENS))
    decay_steps = max(warmup, round(steps * GPT3_DECAY / GPT3_TOKENS))
    schedule = Schedule("cosine", warmup=warmup, steps=steps, decay_steps=decay_steps, floor=0.1)
    optimizer = OptimizerConfig(lr=_between(GPT3_RATES, model.parameters), beta2=0.95, weight_decay=0.1, clip=1.0)
    ramp = BatchRamp(first, batch, round(steps * GPT3_RAMP / GPT3_TOKENS))
    return _config("gpt3", model, optimizer, schedule, ramp, "1 epoch unless steps are said")


def train_modern(model: GPTConfig, epoch_tokens: int, steps: int | None) -> RunConfig:
    """Today's: Muon on the blocks' matrices, a flat rate, then a linear decay to 0 over the last 40%."""
    batch = max(8, 16_384 // model.context)
    steps = steps or _steps(4 * epoch_tokens, batch * model.context)
    optimizer = OptimizerConfig(
        kind="muon", lr=3e-3, beta1=0.9, beta2=0.95, epsilon=1e-10, weight_decay=0.0, clip=None, muon_lr=0.02
    )
    schedule = Schedule("trapezoid", warmup=max(1, min(100, steps // 50)), steps=steps)
    return _config("modern", model, optimizer, schedule, BatchRamp(batch, batch), "4 epochs unless steps are said")


RECIPES: Mapping[str, Recipe] = {
    "gpt": Recipe(gpt, "gpt", train_gpt),
    "bert": Recipe(bert, "gpt", train_bert),
    "gpt2": Recipe(gpt2, "gpt2", train_gpt2),
    "gpt3": Recipe(gpt3, "gpt3-small", train_gpt3),
    "modern": Recipe(modern, "modern", train_modern),
}


def rows_that_fit(model: GPTConfig) -> int:
    """Sequences of the context whose activations fit `ACTIVATION_BYTES`: about 34 values of a width a layer, and one
    chunk of logits."""
    a_row = model.context * model.layers * model.width * 34 * 4
    return max(1, ACTIVATION_BYTES // a_row)


def _config(
    name: Literal["gpt", "gpt2", "gpt3", "modern"],
    model: GPTConfig,
    optimizer: OptimizerConfig,
    schedule: Schedule,
    batch: BatchRamp,
    note: str,
) -> RunConfig:
    often = max(1, schedule.steps // 10)
    return RunConfig(
        model=model,
        optimizer=optimizer,
        schedule=schedule,
        batch=batch,
        micro_batch=min(batch.end, rows_that_fit(model)),
        data="",
        recipe=name,
        evaluate_every=min(500, often),
        save_every=min(500, often),
        sample_every=often if often >= 20 else 0,
        reasons=(f"recipe {name}: {note}",),
    )


def _steps(tokens: float, batch_tokens: int) -> int:
    return max(1, round(tokens / batch_tokens))


def _between(table: tuple[tuple[float, float], ...], parameters: float) -> float:
    """Read a table between its rows, in logarithms, and hold its ends."""
    if parameters <= table[0][0]:
        return table[0][1]
    for (low, first), (high, second) in pairwise(table):
        if parameters <= high:
            share = math.log(parameters / low) / math.log(high / low)
            return math.exp(math.log(first) + share * (math.log(second) - math.log(first)))
    return table[-1][1]
