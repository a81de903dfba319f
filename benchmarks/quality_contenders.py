"""The contenders of the time-to-quality benchmark, each a process that trains, replies with what it took, and ends."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.quality_baseline import train_baseline
from benchmarks.quality_task import Characters, Watch, validation_loss
from ensue.core import native
from ensue.core.device import autocast, choose_precision
from ensue.core.memory import keep_freed_memory
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.presets import modern
from ensue.tokens.stream import BatchRamp, PackedStream
from ensue.train.engine import Engine
from ensue.train.optimizer import Optimizer, OptimizerConfig
from ensue.train.schedule import Schedule

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Recipe:
    """What Ensue trains: today's GPT of this shape, `rows` sequences a step, Muon for matrices and Adam for the rest.

    The rate falls to 0 over the last `decay` of the time.
    """

    layers: int
    width: int
    heads: int
    context: int
    rows: int
    lr: float = 3e-3
    muon_lr: float = 0.02
    decay: float = 0.6
    warmup: int = 10


def serve_build(connection: Connection, cache: str) -> None:
    """Build the C++ kernels in an empty `cache` and reply with the seconds, or why there are none."""
    os.environ["XDG_CACHE_HOME"] = cache
    begun = time.perf_counter()
    try:
        native.load_kernels()
        connection.send({"seconds": time.perf_counter() - begun})
    except native.Unavailable as reason:
        connection.send({"none": str(reason)})


def serve_baseline(connection: Connection, text: Path, seed: int, steps: int, readings: int, threads: int) -> None:
    """Train the baseline and reply with what it took. Reading the text comes before the clock starts."""
    torch.set_num_threads(threads)
    characters = Characters.of(text)
    watch = Watch(readings)
    model, steps, tokens = train_baseline(characters, watch, seed=seed, steps=steps)
    connection.send(_outcome(model, watch, steps=steps, tokens=tokens))


def serve_ensue(
    connection: Connection,
    text: Path,
    seed: int,
    recipe: Recipe,
    seconds: float,
    readings: int,
    threads: int,
    cache: str,
) -> None:
    """Train Ensue for so many seconds and reply with what it did, as `serve_baseline`. `cache` holds the kernels."""
    os.environ["XDG_CACHE_HOME"] = cache
    torch.set_num_threads(threads)
    characters = Characters.of(text)
    watch = Watch(readings)
    model, steps, tokens = train_ensue(characters, watch, seed=seed, recipe=recipe, seconds=seconds)
    connection.send(_outcome(model, watch, steps=steps, tokens=tokens))


def _outcome(model: nn.Module, watch: Watch, *, steps: int, tokens: int) -> dict[str, Any]:
    seconds, loss = watch.curve[-1]
    return {
        "seconds": round(seconds, 3),
        "loss": round(loss, 4),
        "steps": steps,
        "tokens": tokens,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "curve": [(round(seconds, 2), round(loss, 4)) for seconds, loss in watch.curve],
    }


def train_ensue(
    characters: Characters, watch: Watch, *, seed: int, recipe: Recipe, seconds: float
) -> tuple[GPT, int, int]:
    """The model after so many seconds of Ensue's own parts, its steps and its tokens.

    As in a run with `--minutes`, the schedule's end follows the speed seen so far.
    """
    keep_freed_memory()
    precision = choose_precision("auto", CPU)
    shape = modern(
        layers=recipe.layers,
        width=recipe.width,
        heads=recipe.heads,
        context=recipe.context,
        vocab=characters.vocab,
    )
    model = GPT.build(replace(shape, tied=False), seed)
    stream = PackedStream(
        characters.train,
        context=recipe.context,
        batch=BatchRamp(recipe.rows, recipe.rows),
        micro_batch=recipe.rows,
        seed=seed,
    )
    optimizer = OptimizerConfig(
        kind="muon",
        lr=recipe.lr,
        epsilon=1e-10,
        weight_decay=0.0,
        clip=None,
        muon_lr=recipe.muon_lr,
        muon_precision=precision,
    )
    engine = Engine(
        model=model,
        objective=NextToken(),
        stream=stream,
        optimizer=Optimizer(model, optimizer),
        schedule=Schedule("trapezoid", warmup=recipe.warmup, steps=1_000_000, decay=recipe.decay),
        clip=None,
        device=CPU,
        precision=precision,
        seed=seed,
    )

    def logits(tokens: Tensor) -> Tensor:
        with autocast(CPU, precision):
            return model(tokens)

    def loss() -> float:
        model.eval()
        return validation_loss(logits, characters.validation, recipe.context)

    built, index, left, pace = watch.seconds, 0, seconds, 0.0
    while left > pace:
        engine.step(index)
        index += 1
        pace = (watch.seconds - built) / index
        left = seconds - watch.seconds
        engine.schedule = engine.schedule.refitted(index, index + int(left / pace))
        watch.read(1 - left / seconds, loss)
    watch.read(1.0, loss)
    return model, index, engine.tokens
