"""Which schedule and optimizer gives the lowest loss in equal time: python -m benchmarks.optimizers DATA --seconds 40

DATA is a folder made by `ensue prepare`. Every contender trains the same model on the same batches for the same
seconds, alone, over several seeds; its schedule is stretched as it goes so that it ends with the time. The score is the
loss on held-out text, whose reading is not on the clock.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from tyro.conf import Positional

from benchmarks.measure import machine, print_table, write_results
from ensue.core.device import choose_precision
from ensue.core.memory import keep_freed_memory
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.presets import modern
from ensue.recipes.data import Data
from ensue.recipes.held_out import held_out_loss
from ensue.tokens.stream import BatchRamp, PackedStream
from ensue.train.engine import Engine
from ensue.train.optimizer import Optimizer, OptimizerConfig
from ensue.train.schedule import Schedule

PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "optimizers.png"
HELD_OUT_TOKENS = 65_536
FIRST_GUESS = 400
"""Steps of a schedule before the first are timed."""


@dataclass(frozen=True)
class Options:
    """Lowest loss in equal time."""

    data: Positional[Path]
    """A folder made by `ensue prepare`."""
    seconds: float = 40.0
    """Training time of each run."""
    seeds: int = 3
    layers: int = 4
    width: int = 256
    context: int = 256
    save: bool = True


@dataclass(frozen=True)
class Contender:
    """An optimizer, a schedule, and sequences a step."""

    optimizer: OptimizerConfig
    schedule: Schedule
    batch: BatchRamp


def contenders() -> dict[str, Contender]:
    """AdamW at three rates under the cosine and under the other schedules, with GPT-3's batch ramp, and Muon."""
    adamw = OptimizerConfig(kind="adamw", lr=2e-3, beta2=0.95, weight_decay=0.1, clip=1.0)
    muon = OptimizerConfig(
        kind="muon", lr=3e-3, beta2=0.95, weight_decay=0.0, clip=None, muon_lr=0.02, muon_precision="bf16"
    )
    cosine = Schedule("cosine", warmup=20, steps=FIRST_GUESS, floor=0.1)
    linear = Schedule("linear", warmup=20, steps=FIRST_GUESS)
    stable = Schedule("trapezoid", warmup=20, steps=FIRST_GUESS, decay=0.4)
    eight = BatchRamp(8, 8)
    return {
        "AdamW 1e-3, cosine to 10%": Contender(replace(adamw, lr=1e-3), cosine, eight),
        "AdamW 2e-3, cosine to 10%": Contender(adamw, cosine, eight),
        "AdamW 4e-3, cosine to 10%": Contender(replace(adamw, lr=4e-3), cosine, eight),
        "AdamW 2e-3, linear to 0": Contender(adamw, linear, eight),
        "AdamW 2e-3, stable then decay": Contender(adamw, stable, eight),
        "AdamW 2e-3, cosine, ramp 2 to 16": Contender(adamw, cosine, BatchRamp(2, 16, FIRST_GUESS // 2)),
        "Muon + AdamW, cosine to 10%": Contender(muon, cosine, eight),
        "Muon + AdamW, linear to 0": Contender(muon, linear, eight),
        "Muon + AdamW, stable then decay": Contender(muon, stable, eight),
    }


def train(contender: Contender, data: Data, options: Options, seed: int) -> dict[str, float]:
    """One run: its held-out nats a token and bits a byte, and the steps and tokens it came to."""
    config = modern(
        layers=options.layers,
        width=options.width,
        heads=options.width // 128,
        context=options.context,
        vocab=data.tokenizer.vocab_size,
    )
    device = torch.device("cpu")
    precision = choose_precision("auto", device)
    model = GPT.build(config, seed)
    objective = NextToken()
    engine = Engine(
        model=model,
        objective=objective,
        stream=PackedStream(data.train, context=options.context, batch=contender.batch, micro_batch=16, seed=seed),
        optimizer=Optimizer(model, replace(contender.optimizer, muon_precision=precision)),
        schedule=contender.schedule,
        clip=contender.optimizer.clip,
        device=device,
        precision=precision,
        seed=seed,
    )
    begun, step = time.perf_counter(), 0
    while (spent := time.perf_counter() - begun) < options.seconds:
        if step >= 10 and step % 10 == 0:
            left = (options.seconds - spent) / (spent / step)
            engine.schedule = engine.schedule.refitted(step, max(step + 1, round(step + left)))
        engine.step(step)
        step += 1
    loss = held_out_loss(
        model, data.held_out, objective=objective, micro_batch=16, precision=precision, limit_tokens=HELD_OUT_TOKENS
    )
    return {"nats": loss.nats, "bits_per_byte": loss.bits_per_byte, "steps": step, "tokens": engine.tokens}


def draw(results: dict[str, list[dict[str, float]]], seconds: float) -> None:
    """A dot for each seed, a bar at the mean, best on top."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = sorted(results, key=lambda name: -statistics.mean(run["bits_per_byte"] for run in results[name]))
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(names) + 1.2), dpi=120)
    for place, name in enumerate(names):
        scores = [run["bits_per_byte"] for run in results[name]]
        axes.plot(scores, [place] * len(scores), "o", color="#1f4e79", markersize=5, alpha=0.7)
        axes.plot([statistics.mean(scores)], [place], "|", color="#c0504d", markersize=16, markeredgewidth=2)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="bits per byte, held out", title=f"{seconds:g} seconds of training each")
    axes.grid(axis="x", alpha=0.25)
    figure.tight_layout()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE)
    pyplot.close(figure)


def main() -> None:
    options = tyro.cli(Options)
    keep_freed_memory()
    data = Data(options.data)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in contenders()}
    for seed in range(options.seeds):
        for name, contender in contenders().items():
            results[name].append(train(contender, data, options, seed))
            print(f"seed {seed}  {name:<34} {results[name][-1]['bits_per_byte']:.4f}", flush=True)
    table: list[tuple[Any, ...]] = [("", "bits per byte", "each seed", "steps", "tokens")]
    for name, runs in sorted(results.items(), key=lambda each: statistics.mean(r["bits_per_byte"] for r in each[1])):
        scores = [run["bits_per_byte"] for run in runs]
        steps, tokens = (round(statistics.mean(run[key] for run in runs)) for key in ("steps", "tokens"))
        each = " ".join(f"{score:.3f}" for score in scores)
        table.append((name, f"{statistics.mean(scores):.3f}", each, f"{steps:,}", f"{tokens:,}"))
    print_table(table)
    draw(results, options.seconds)
    if options.save:
        shape = {name: getattr(options, name) for name in ("layers", "width", "context", "seconds", "seeds")}
        result = {**shape, "data": options.data.name, "machine": machine("torch"), "runs": results}
        print(f"\nwritten to {write_results('optimizers', result)}")


if __name__ == "__main__":
    main()
