"""`ensue plan`'s memory beside real training steps on this CPU: python -m benchmarks.plan

Each shape trains a few steps in a process of its own, which has trained a tiny model before, so that what is counted is
this model's own: the most memory the process held, less what it held before.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.measure import machine, print_table, write_results
from benchmarks.train_variants import Shape, Variant, ensue_step
from ensue.model.config import GPTConfig
from ensue.model.presets import gpt2, modern
from ensue.recipes.plan_memory import Layout, Precision, memory

SHAPES: dict[str, tuple[GPTConfig, int]] = {
    "gpt2 6 x 384": (gpt2(layers=6, width=384, heads=6, context=256, vocab=4096), 16),
    "gpt2 8 x 512": (gpt2(layers=8, width=512, heads=8, context=512, vocab=8192), 8),
    "gpt2 12 x 768": (gpt2(layers=12, width=768, heads=12), 2),
    "modern 6 x 384": (modern(layers=6, width=384, heads=6, context=256, vocab=4096), 16),
    "modern 8 x 512": (modern(layers=8, width=512, heads=8, context=512, vocab=8192), 8),
}
"""Models, and sequences a step."""

STEPS = 3


@dataclass(frozen=True)
class Options:
    """`ensue plan`'s memory beside real training steps."""

    save: bool = True
    """Put the result into benchmarks/results/plan.json."""


def serve(connection: Connection, config: GPTConfig, rows: int, precision: Precision) -> None:
    """Send the bytes by which training this model raised the most memory this process has held."""
    variant = Variant("ensue", precision, compiled=False)
    warm_up(variant)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    run = ensue_step(Shape(config, rows), variant)
    for index in range(STEPS):
        run(index)
    connection.send(_status("VmHWM") - before)


def warm_up(variant: Variant) -> None:
    """Have everything loaded and built that any model needs; only caches of it stay, which are not the model's."""
    run = ensue_step(Shape(gpt2(layers=1, width=64, heads=2, context=64, vocab=256), 2), variant)
    run(0)
    del run
    gc.collect()


def measured(config: GPTConfig, rows: int, precision: Precision) -> int:
    """Bytes, from a fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, config, rows, precision))
    process.start()
    theirs.close()
    found: int = ours.recv()
    process.join()
    return found


def planned(config: GPTConfig, rows: int, precision: Precision) -> float:
    """What the plan says of the same, without what the interpreter and torch take."""
    held = memory(config, Layout(rows=rows), precision=precision, device="cpu")
    return held.total - held.framework


def main() -> None:
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    table: list[tuple[Any, ...]] = [("", "precision", "measured MB", "planned MB", "planned / measured")]
    for name, (config, rows) in SHAPES.items():
        for precision in ("fp32", "bf16"):
            found, said = measured(config, rows, precision), planned(config, rows, precision)
            results[f"{name} {precision}"] = {"rows": rows, "measured": found, "planned": round(said)}
            table.append((name, precision, f"{found / 1e6:,.0f}", f"{said / 1e6:,.0f}", f"{said / found:.2f}"))
            print(json.dumps(table[-1]), flush=True)
    print_table(table)
    if options.save:
        print(f"\nwritten to {write_results('plan', {'machine': machine('torch'), 'shapes': results})}")


def _status(key: str) -> int:
    """Bytes of one line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024


if __name__ == "__main__":
    main()
