"""One dial: minutes. Size, batch, context and length follow from the text and from this machine's measured speed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from ensue.core.device import autocast, choose_device, choose_precision, product_rate
from ensue.core.memory import keep_freed_memory
from ensue.loss.next_token import NextToken
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.recipes.data import Data
from ensue.recipes.papers import RECIPES, rows_that_fit
from ensue.recipes.run_config import RunConfig, with_changes, with_mask_token
from ensue.recipes.warm_start import LARGEST_VOCABULARY
from ensue.tokens.batch import Batch
from ensue.tokens.stream import BatchRamp
from ensue.train.optimizer import Optimizer

LADDER = ((2, 64), (2, 128), (3, 192), (4, 256), (6, 384), (8, 512), (12, 768), (24, 1024), (36, 1280), (48, 1600))
"""Layers and width of the sizes to choose from; each about two to four times the work of the one before."""

HEAD_WIDTH = 64
"""GPT-2's; at width 128 two heads are as fast as one, and came out 0.01 lower in one run each (docs/demo.md)."""

UNKNOWN_LENGTH = 1_000_000
"""Steps of a schedule that is only made to look at: long enough for any warm-up."""

TRIAL_TOKENS = 2048
TRIAL_STEPS = 4
TRIAL_SECONDS = 0.5
"""A trial is at least as many steps and as long: a few steps alone fit into a moment of other work on the machine."""

FEWEST_TOKENS = 2048
"""Tokens a step at least: below it the products are too thin for the machine."""

STEPS = 3000
"""About as many as there shall be, where the largest batch allows it; not measured side by side (docs/demo.md)."""

WARM_START = 30
"""Passes over the bigram counts: the loss there has settled by then (docs/demo.md)."""

SIZE_EXPONENT, TOKEN_EXPONENT = 0.36, 0.32
SIZE_SCALE, TOKEN_SCALE = 37.0, 62.0
"""Of `expected_loss`; the scales from runs of 10^12 to 10^13 FLOPs (docs/demo.md), the exponents near Chinchilla's."""

REPEATS_WORTH = 15.0
"""Muennighoff et al. (2023), equation 5: D tokens repeated r times more are worth D (1 + R (1 - exp(-r / R)))."""

EVALUATION_SHARE = 0.03
FINAL_SHARE = 0.04
"""Parts of the time that held-out readings along the way, and the last one, may take."""

FORWARD_SPEED = 3.0
"""Tokens scored in the time that one is trained on."""

LEARNING_RATE, MUON_RATE, BATCH_OF_RATES = 1e-3, 0.01, 2048
"""Adam's and Muon's rates at so many tokens a step; they rise with the square root of the batch, to 3e-3 and 0.02. More
throws away what the warm start gave (docs/demo.md)."""

DECAY = 0.6
"""Share of the run over which the rate falls to 0."""


@dataclass(frozen=True)
class Candidate:
    """A size that was timed here: what it would see in the time given, and the loss that is expected of it."""

    model: GPTConfig
    tokens_per_second: float
    tokens: float
    loss: float


def choose_by_minutes(
    data: Data, recipe: str, *, minutes: float, deadline: float, seed: int, changes: Mapping[str, str]
) -> RunConfig:
    """The run that should reach the lowest loss by `deadline` (in `time.monotonic()` seconds), with its reasons."""
    context = _context(data, minutes)
    seconds = max(deadline - time.monotonic(), 0.3 * minutes * 60)
    tried = _try_sizes(data, recipe, context=context, seconds=seconds, changes=changes)
    best = min(tried, key=lambda candidate: candidate.loss)
    batch = _batch(best.tokens, context)
    steps = max(10, round(best.tokens / (batch * context)))
    config = replace(
        RECIPES[recipe].train(best.model, data.facts.train_tokens, steps),
        seed=seed,
        minutes=minutes,
        batch=BatchRamp(max(1, batch // 4), batch, steps // 20) if recipe == "gpt3" else BatchRamp(batch, batch),
        micro_batch=min(batch, rows_that_fit(best.model)),
        evaluate_every=max(1, steps // 10),
        evaluate_tokens=int(EVALUATION_SHARE * FORWARD_SPEED * best.tokens / 10),
        final_tokens=max(16_384, int(FINAL_SHARE * FORWARD_SPEED * best.tokens / 2)),
        save_every=max(1, steps // 5),
        sample_every=0 if minutes <= 10 else max(1, steps // 5),
        reasons=_reasons(best, tried, data, seconds=seconds, batch=batch, steps=steps),
    )
    return with_changes(_tuned_for_minutes(config) if recipe == "modern" else config, changes)


def _tuned_for_minutes(config: RunConfig) -> RunConfig:
    """The modern recipe as it does best in minutes: a warm start, and rates that keep what it gives."""
    grown = math.sqrt(config.batch.end * config.model.context / BATCH_OF_RATES)
    optimizer = replace(config.optimizer, lr=min(3.0, grown) * LEARNING_RATE, muon_lr=min(2.0, grown) * MUON_RATE)
    return replace(
        config,
        optimizer=optimizer,
        schedule=replace(config.schedule, decay=DECAY),
        warm_start=WARM_START if config.model.vocab <= LARGEST_VOCABULARY else 0,
    )


def largest_vocabulary(minutes: float) -> int:
    """The most tokens for a tokenizer of a run of so many minutes: the head and the warm start pay for each."""
    return 4096 if minutes <= 5 else LARGEST_VOCABULARY


def expected_loss(parameters: float, tokens: float, epoch_tokens: float) -> float:
    """Nats a token above the irreducible, in the form of Chinchilla (Hoffmann et al. 2022, equation 2), with repeated
    tokens worth less. `parameters` are the blocks'. It ranks sizes by differences; it does not forecast."""
    repeats = max(0.0, tokens / epoch_tokens - 1)
    worth = min(tokens, epoch_tokens) * (1 + REPEATS_WORTH * (1 - math.exp(-repeats / REPEATS_WORTH)))
    return SIZE_SCALE / math.pow(parameters, SIZE_EXPONENT) + TOKEN_SCALE / math.pow(worth, TOKEN_EXPONENT)


def _try_sizes(data: Data, recipe: str, *, context: int, seconds: float, changes: Mapping[str, str]) -> list[Candidate]:
    """Time sizes from small to large until the expected loss gets worse."""
    keep_freed_memory()  # as the run itself will
    tried: list[Candidate] = []
    for layers, width in LADDER:
        heads = max(1, width // HEAD_WIDTH)
        model = RECIPES[recipe].architecture(
            layers=layers, width=width, heads=heads, context=context, vocab=data.tokenizer.vocab_size
        )
        if recipe == "modern":
            model = replace(model, tied=False)  # a bigram table is not symmetric, and the head starts from one
        config = with_changes(RECIPES[recipe].train(model, data.facts.train_tokens, UNKNOWN_LENGTH), changes)
        config = with_mask_token(config, data.tokenizer.vocab_size)
        speed = tokens_per_second(config)
        tokens = speed * seconds
        blocks = config.model.matrix_parameters - config.model.vocab * config.model.width
        loss = expected_loss(blocks, tokens, data.facts.train_tokens)
        tried.append(Candidate(config.model, speed, tokens, loss))
        if len(tried) > 1 and tried[-1].loss > tried[-2].loss:
            break
        if config.model.width != width or config.model.layers != layers:
            break  # the user said the size
    return tried


def tokens_per_second(config: RunConfig) -> float:
    """Training speed of this model here: the fastest of some whole steps on random tokens, after one to warm up.

    The fastest, since other work only makes steps slower, and a run whose size was chosen in such a moment keeps it.
    """
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    model = GPT.build(config.model, 0).to(device)
    objective, optimizer = NextToken(), Optimizer(model, config.optimizer)
    rows = max(1, min(TRIAL_TOKENS // config.model.context, rows_that_fit(config.model)))
    tokens = torch.randint(config.model.vocab, (rows, config.model.context), device=device)
    counted = torch.arange(tokens.shape[1], device=device) < (config.masked or 1.0) * tokens.shape[1]
    batch = Batch(tokens, tokens, counted.float().expand(tokens.shape))
    readings: list[float] = []
    while len(readings) < TRIAL_STEPS or sum(readings) < TRIAL_SECONDS:
        start = time.perf_counter()
        optimizer.zero_grad()
        with autocast(device, precision):
            total = objective.loss(model, batch).total
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        readings.append(time.perf_counter() - start)
    return tokens.numel() / min(readings[1:])


def products_per_second() -> float:
    """FLOPs a second of plain matrix products here, in the precision that training would choose."""
    device = choose_device()
    dtype = torch.bfloat16 if choose_precision("auto", device) == "bf16" else torch.float32
    return product_rate(device, dtype, size=1024, readings=5)


def _context(data: Data, minutes: float) -> int:
    """256 for minutes, 512 for an hour, 1,024 beyond; never more than the held-out or a twentieth of the text."""
    wanted = 256 if minutes <= 15 else 512 if minutes <= 120 else 1024
    limit = max(16, data.facts.train_tokens // 20)
    while wanted > limit:
        wanted //= 2
    return wanted


def _batch(tokens: float, context: int) -> int:
    """Sequences a step: small enough for some thousand steps where there are few tokens, at most 131,072 tokens."""
    size = int(2 ** round(math.log2(min(131_072, max(FEWEST_TOKENS, tokens / STEPS)))))
    return max(1, size // context)


def _reasons(
    best: Candidate, tried: list[Candidate], data: Data, *, seconds: float, batch: int, steps: int
) -> tuple[str, ...]:
    sizes = "; ".join(
        f"{c.model.layers} x {c.model.width}: {c.tokens_per_second:,.0f} tokens/s, expected excess {c.loss:.2f}"
        for c in tried
    )
    epochs = best.tokens / data.facts.train_tokens
    return (
        f"timed here, layers x width: {sizes}",
        f"{seconds:,.0f} s at {best.tokens_per_second:,.0f} tokens/s are {best.tokens / 1e6:,.1f} million tokens, "
        f"{epochs:,.1f} times the {data.facts.train_tokens / 1e6:,.1f} million there are",
        f"{batch} sequences a step make {steps:,} steps: small batches while tokens are few",
        "the end is moved while it runs, so that it finishes on time whatever else the machine does",
    )
