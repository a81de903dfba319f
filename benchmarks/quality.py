"""Time to quality: python -m benchmarks.quality --text tinyshakespeare.txt

A character model of one text file (the first 90% train, the last 10% validate, one token a character): the
well-known small recipe for CPUs in plain PyTorch (fp32, AdamW, 4 layers of width 128, context 64, 12 sequences a step,
2,000 steps), and Ensue in a third of the seconds that takes, in all of them, and in a few shorter times. On the clock
is everything after the imports, building the model included; not on it is reading the validation loss, in windows of
each model's own context, each character once. The CPU's kernels are built beforehand and timed apart.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from benchmarks.measure import machine, median, print_table, write_results
from ensue.core.device import autocast, choose_precision
from ensue.core.memory import keep_freed_memory
from ensue.core.native import Unavailable, load_kernels
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.presets import modern
from ensue.tokens.batch import Batch
from ensue.train.engine import Engine
from ensue.train.optimizer import Optimizer, OptimizerConfig
from ensue.train.schedule import Schedule

PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "time-to-quality.png"
TARGET, FULL_TARGET = 1.8857, 1.70
"""Nats: what the recipe is known for, and what its whole time should buy."""

SHARES = (1 / 12, 1 / 8, 1 / 3, 1.0)
"""Parts of the baseline's time that Ensue is given, each a run of its own."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Options:
    """Time to a validation loss, beside a plain PyTorch recipe."""

    text: Path
    """A text file; tiny Shakespeare for the figures that are known."""
    repeats: int = 2
    """Seeds of every run."""
    steps: int = 2000
    """Of the baseline."""
    threads: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    save: bool = True


@dataclass(frozen=True)
class Characters:
    """A text as ids, and how it is cut into windows."""

    train: np.ndarray
    validation: np.ndarray
    vocab: int

    @classmethod
    def read(cls, path: Path) -> Characters:
        """Raises ValueError for a text too short to hold one window out."""
        text = path.read_text(encoding="utf-8")
        kinds, ids = np.unique(np.array(list(text)), return_inverse=True)
        cut = int(len(ids) * 0.9)
        if len(ids) - cut < 512:
            raise ValueError(f"{path} is too short: {len(ids)} characters; give 5,120 or more.")
        return cls(ids[:cut].astype(np.int64), ids[cut:].astype(np.int64), len(kinds))

    def batch(self, *, rows: int, context: int, seed: int, step: int) -> Batch:
        """Random windows of the training part; a function of its arguments."""
        starts = np.random.default_rng((seed, step)).integers(0, len(self.train) - context - 1, rows)
        ids = torch.from_numpy(self.train[starts[:, None] + np.arange(context + 1)])
        return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), torch.ones(rows, context))

    def held_out(self, context: int) -> Iterator[Batch]:
        """Every validation character but the first a target once."""
        starts = np.arange(0, len(self.validation) - 1, context)
        places = starts[:, None] + np.arange(context + 1)
        inside = places < len(self.validation)
        ids = torch.from_numpy(self.validation[np.minimum(places, len(self.validation) - 1)])
        weights = torch.from_numpy(inside[:, 1:].astype(np.float32))
        for low in range(0, len(starts), 64):
            part = slice(low, low + 64)
            yield Batch(ids[part, :-1].contiguous(), ids[part, 1:].contiguous(), weights[part])


@dataclass(frozen=True)
class Settings:
    """Ensue's model and batch for a time: what was lowest of what docs/speed.md lists."""

    width: int
    heads: int
    context: int
    rows: int
    layers: int = 4


def settings_for(share: float) -> Settings:
    """A larger model where there is time for it."""
    return Settings(192, 3, 256, 8) if share == 1.0 else Settings(128, 2, 128, 16)


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, tokens, width = x.shape
        parts = self.qkv(self.first(x)).view(rows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(), is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return x + self.down(F.gelu(self.up(self.second(x))))


class PlainGPT(nn.Module):
    """The recipe's model: 4 layers of width 128, 4 heads, learned positions, tied, without biases."""

    def __init__(self, vocab: int, *, layers: int = 4, width: int = 128, heads: int = 4, context: int = 64) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(PlainBlock(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                deep = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if deep else 0.02)

    def forward(self, batch: Batch) -> Tensor:
        """The weighted sum of nats."""
        x = self.blocks(self.tokens(batch.tokens) + self.places.weight[: batch.tokens.shape[1]])
        logits = F.linear(self.norm(x), self.tokens.weight)
        nats = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
        return (nats * batch.weights.flatten()).sum()


def train_baseline(text: Characters, *, steps: int, seed: int, begun: float) -> list[tuple[float, float]]:
    """Points (seconds, validation loss), the last at the end."""
    torch.manual_seed(seed)
    model = PlainGPT(text.vocab)
    matrices = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    gains = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    schedule = Schedule("cosine", warmup=min(100, steps // 2), steps=steps, floor=0.1)
    clock, points = _Clock(begun), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * schedule.factor(step)
        batch = text.batch(rows=12, context=64, seed=seed, step=step)
        loss = model(batch) / batch.targets.numel()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % max(1, steps // 10) == 0 or step + 1 == steps:
            points.append(clock.read(lambda: _validation(text, 64, model)))
    return points


def train_ensue(
    text: Characters, *, settings: Settings, seconds: float, seed: int, begun: float
) -> list[tuple[float, float]]:
    """The same of Ensue's engine, its schedule ending with the seconds."""
    keep_freed_memory()
    precision = choose_precision("auto", CPU)
    shape = {"layers": settings.layers, "width": settings.width, "heads": settings.heads}
    model = GPT.build(modern(**shape, context=settings.context, vocab=text.vocab), seed)
    objective = NextToken()
    muon = OptimizerConfig(
        kind="muon", lr=3e-3, epsilon=1e-10, weight_decay=0.0, clip=None, muon_lr=0.02, muon_precision=precision
    )
    engine = Engine(
        model=model,
        objective=objective,
        stream=_Windows(text, settings, seed),
        optimizer=Optimizer(model, muon),
        schedule=Schedule("trapezoid", warmup=5, steps=10_000, decay=0.6),
        clip=None,
        device=CPU,
        precision=precision,
        seed=seed,
    )

    def validation(batch: Batch) -> Tensor:
        with autocast(CPU, precision):
            return objective.loss(model, batch).total

    clock, points, step = _Clock(begun), [], 0
    while (spent := clock.now()) < seconds:
        if step >= 5:
            left = (seconds - spent) / (spent / step)
            engine.schedule = engine.schedule.refitted(step, max(step + 1, round(step + left)))
        engine.step(step)
        step += 1
        if clock.now() > (len(points) + 1) * seconds / 8:
            points.append(clock.read(lambda: _validation(text, settings.context, validation)))
    points.append(clock.read(lambda: _validation(text, settings.context, validation)))
    return points


@dataclass(frozen=True)
class _Windows:
    text: Characters
    settings: Settings
    seed: int

    def batches(self, step: int) -> Iterator[Batch]:
        rows, context = self.settings.rows, self.settings.context
        yield self.text.batch(rows=rows, context=context, seed=self.seed, step=step)

    def documents(self, step: int) -> list[Any]:
        return []


class _Clock:
    """Seconds since `begun` in `time.perf_counter()`, without what `read` took."""

    def __init__(self, begun: float) -> None:
        self._begun = begun

    def now(self) -> float:
        return time.perf_counter() - self._begun

    def read(self, loss: Callable[[], float]) -> tuple[float, float]:
        """The time, and a loss that takes none of it."""
        now = self.now()
        value = loss()
        self._begun = time.perf_counter() - now
        return now, value


@torch.no_grad()
def _validation(text: Characters, context: int, nats: Callable[[Batch], Tensor]) -> float:
    return sum(float(nats(batch)) for batch in text.held_out(context)) / (len(text.validation) - 1)


def serve(connection: Connection, options: Options, share: float | None, seconds: float, seed: int) -> None:
    """One run in a fresh process; the clock starts when the imports are done."""
    torch.set_num_threads(options.threads)
    text = Characters.read(options.text)
    begun = time.perf_counter()
    if share is None:
        points = train_baseline(text, steps=options.steps, seed=seed, begun=begun)
    else:
        points = train_ensue(text, settings=settings_for(share), seconds=seconds, seed=seed, begun=begun)
    connection.send(points)


def run(options: Options, share: float | None, seconds: float, seed: int) -> list[tuple[float, float]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, options, share, seconds, seed))
    process.start()
    theirs.close()
    points: list[tuple[float, float]] = ours.recv()
    process.join()
    return points


def kernel_build_seconds() -> float | None:
    """What the first run on a machine pays once; None where there are no kernels."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        begun = time.perf_counter()
        try:
            load_kernels()
        except Unavailable:
            return None
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if before is not None:
                os.environ["XDG_CACHE_HOME"] = before
        return round(time.perf_counter() - begun, 1)


def draw(curves: dict[str, list[list[tuple[float, float]]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120)
    for place, (name, runs) in enumerate(curves.items()):
        for number, points in enumerate(runs):
            axes.plot(
                *zip(*points, strict=True),
                "o-",
                color="#c0504d" if place == 0 else pyplot.get_cmap("Blues")(0.4 + 0.15 * place),
                markersize=3,
                label=name if number == 0 else None,
            )
    axes.axhline(TARGET, color="#888888", linewidth=0.8, linestyle="--")
    axes.set(xlabel="seconds of training", ylabel="validation loss, nats a character", xscale="log")
    axes.set_ylim(top=3.0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(PICTURE)
    pyplot.close(figure)


def main() -> None:
    options = tyro.cli(Options)
    Characters.read(options.text)
    build = kernel_build_seconds()
    load_if_possible()
    curves: dict[str, list[list[tuple[float, float]]]] = {"plain PyTorch": []}
    for seed in range(options.repeats):
        baseline = run(options, None, 0.0, seed)
        curves["plain PyTorch"].append(baseline)
        whole = median([points[-1][0] for points in curves["plain PyTorch"]])
        for share in SHARES:
            name = f"Ensue, {share:.2g} of the time"
            curves.setdefault(name, []).append(run(options, share, share * whole, seed))
    table: list[tuple[Any, ...]] = [("", "seconds", "validation loss", "each seed")]
    for name, runs in curves.items():
        ends = [points[-1] for points in runs]
        losses = [loss for _, loss in ends]
        seconds = f"{median([spent for spent, _ in ends]):.1f}"
        table.append((name, seconds, f"{median(losses):.4f}", " ".join(f"{loss:.4f}" for loss in losses)))
    print_table(table)
    print(f"targets: {TARGET} in a third of the time, {FULL_TARGET} in all of it; building the kernels took {build} s")
    draw(curves)
    if options.save:
        facts = {
            "text": options.text.name,
            "repeats": options.repeats,
            "steps": options.steps,
            "threads": options.threads,
        }
        result = {**facts, "kernel_build_seconds": build, "machine": machine("torch"), "points": curves}
        print(f"\nwritten to {write_results('quality', result)}")


def load_if_possible() -> None:
    """Have the kernels built before any clock starts."""
    try:
        load_kernels()
    except Unavailable as reason:
        print(f"without Ensue's kernels: {reason}")


if __name__ == "__main__":
    main()
