"""The contenders of the time-to-quality benchmark: each trains on characters against a clock, and is read on the way.

Legend: B rows, T context, V distinct characters, W width, H heads, D width of a head.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ensue.core import native
from ensue.core.device import autocast, choose_precision
from ensue.core.memory import keep_freed_memory
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.presets import modern
from ensue.tokens.shards import Shard
from ensue.tokens.stream import BatchRamp, PackedStream, evaluation_batches
from ensue.train.engine import Engine
from ensue.train.optimizer import Optimizer, OptimizerConfig
from ensue.train.schedule import Schedule

CPU = torch.device("cpu")
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


@dataclass(frozen=True)
class Recipe:
    """What Ensue trains: today's GPT of this shape on `rows` sequences a step, Muon for its matrices, Adam for the rest.

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


class PlainBlock(nn.Module):
    """Attention and MLP, each after its LayerNorm, without biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, context, width = x.shape
        parts = self.queries_keys_values(self.attention_norm(x)).split(width, dim=2)
        q, k, v = (part.view(rows, context, self.heads, -1).transpose(1, 2) for part in parts)  # (B, H, T, D)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_out(seen.transpose(1, 2).reshape(rows, context, width))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x))))


class PlainGPT(nn.Module):
    """GPT-2 as people write it in PyTorch: learned positions, tied head, std 0.02, residual outputs scaled down."""

    def __init__(self, vocab: int, *, layers: int = 4, width: int = 128, heads: int = 4, context: int = 64) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(PlainBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("attention_out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if residual else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)


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
