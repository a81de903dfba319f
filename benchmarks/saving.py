"""What a checkpoint and a receipt cost a training step: python -m benchmarks.saving --shape 124m

Stretches of steps with a save at their start take turns with stretches without one; the difference is what a save
costs: the copy, the thread beside the training, and the removal of an older checkpoint together. The plain way,
`torch.save` while training waits, is timed on the same state.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from benchmarks.measure import RESULTS, machine, median, print_table, spread, write_results
from benchmarks.train import SHAPES
from benchmarks.train_variants import OPTIMIZER, SEED, RandomBatches, Shape
from ensue.core.device import bf16_is_faster
from ensue.core.memory import keep_freed_memory
from ensue.core.receipts import Receipts
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.weights.huggingface import stored_tensors
from ensue.train.checkpoint import Contents, gather
from ensue.train.engine import Engine
from ensue.train.fingerprint import fingerprint
from ensue.train.optimizer import Optimizer
from ensue.train.saving import Saver
from ensue.train.schedule import Schedule


@dataclass(frozen=True)
class Options:
    """What a checkpoint and a receipt cost a training step."""

    shape: Literal["12m", "124m", "tiny"] = "124m"
    every: int = 50
    """Steps from one save to the next, for the share that is told."""
    steps: int = 4
    """Steps of a stretch; a save must be through within them."""
    rounds: int = 5
    """Stretches of each kind."""
    threads: int = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    folder: Path | None = None
    """Where the checkpoints go; the system's temporary folder unless said."""
    save: bool = True
    """Put the result into benchmarks/results/saving.json."""


def build(shape: Shape) -> Engine:
    """Ensue's engine, as a run wires it, in the precision that is faster here."""
    keep_freed_memory()
    model = GPT.build(shape.config, SEED)
    return Engine(
        model=model,
        objective=NextToken(),
        stream=RandomBatches(shape),
        optimizer=Optimizer(model, OPTIMIZER),
        schedule=Schedule("constant", 0, 1),
        clip=OPTIMIZER.clip,
        device=torch.device("cpu"),
        precision="bf16" if bf16_is_faster() else "fp32",
        seed=SEED,
    )


def contents(engine: Engine, step: int) -> Contents:
    """All that a checkpoint of a run holds but the tokenizer's files."""
    assert isinstance(engine.model, GPT)
    tensors = {"model.safetensors": stored_tensors(engine.model)}
    return gather(engine, step=step, model_files={}, model_tensors=tensors, record={})


def measure(shape: Shape, options: Options) -> dict[str, Any]:
    """The stretches, the plain way, and the receipts."""
    torch.set_num_threads(options.threads)
    engine = build(shape)
    done = 0
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder, saver = Path(place), Saver(in_background=True)

        def stretch(*, with_save: bool) -> float:
            nonlocal done
            began = time.perf_counter()
            if with_save:
                saver.save(contents(engine, done), folder / f"{done:08d}", done)
            for _ in range(options.steps):
                engine.step(done)
                done += 1
            if with_save:
                saver.wait()
                for older in sorted(folder.iterdir())[:-2]:
                    shutil.rmtree(older)
            return time.perf_counter() - began

        stretch(with_save=False)
        first = stretch(with_save=True)
        with_saves, without = [], []
        for turn in range(options.rounds):
            for with_save in (turn % 2 == 0, turn % 2 == 1):
                (with_saves if with_save else without).append(stretch(with_save=with_save))
        saved = saver.finished()[1:]
        size = sum(path.stat().st_size for path in sorted(folder.iterdir())[-1].iterdir())
        plain = [_plain_save(engine, folder / "plain.pt") for _ in range(2)]
        receipt = _receipt_seconds(engine, folder / "receipts.jsonl")
    step = median(without) / options.steps
    cost = median([one - other for one, other in zip(with_saves, without, strict=True)])
    return {
        "parameters": shape.config.parameters,
        "precision": engine.precision,
        "threads": options.threads,
        "machine": machine("torch", "safetensors"),
        "megabytes": round(size / 1e6, 1),
        "step_seconds": step,
        "stretches_with": [round(each, 4) for each in with_saves],
        "stretches_without": [round(each, 4) for each in without],
        "first_save_extra_seconds": round(first - median(without), 4),
        "copying_seconds": median([each.copying for each in saved]),
        "writing_seconds": median([each.writing for each in saved]),
        "cost_seconds": cost,
        "every": options.every,
        "cost_share": float(f"{cost / (options.every * step):.3g}"),
        "torch_save_seconds": median(plain),
        "torch_save_share": float(f"{median(plain) / (options.every * step):.3g}"),
        "receipt_seconds": receipt,
        "receipt_share": float(f"{receipt / step:.3g}"),
    }


def _plain_save(engine: Engine, path: Path) -> float:
    """Seconds of `torch.save` of the same state, flushed to the disk as a checkpoint must be."""
    began = time.perf_counter()
    with path.open("wb") as file:
        torch.save({"model": engine.model.state_dict(), "optimizer": engine.optimizer.tensors()}, file)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds


def _receipt_seconds(engine: Engine, path: Path) -> float:
    """Seconds of one receipt: the fingerprint of the weights, the row, and its hash."""
    parameters, receipts = dict(engine.model.named_parameters()), Receipts(path)
    readings = []
    for step in range(20):
        began = time.perf_counter()
        row = {"step": step, "loss": 1.0, "grad_norm": 1.0, "lr": 1.0, "samples": "0" * 16, "tokens": "0" * 16}
        receipts.add({**row, "weights": fingerprint(parameters, step)})
        readings.append(time.perf_counter() - began)
    return median(readings)


def show(name: str, result: dict[str, Any]) -> None:
    """The result as a table."""
    print(
        f"{name}: {result['parameters']:,} parameters, {result['megabytes']:,} MB a checkpoint, {result['precision']}\n"
    )
    every = result["every"]
    print_table(
        [
            ("", "seconds", f"share of training at a save every {every} steps"),
            ("one step", f"{result['step_seconds']:g}", ""),
            (
                "a save beside the training, all of its cost",
                f"{result['cost_seconds']:g}",
                f"{result['cost_share']:.2%}",
            ),
            ("  of which the copy, while training waits", f"{result['copying_seconds']:g}", ""),
            ("  the thread, beside it", f"{result['writing_seconds']:g}", ""),
            ("  the first save, which makes room, more than a stretch", f"{result['first_save_extra_seconds']:g}", ""),
            (
                "torch.save and fsync, while training waits",
                f"{result['torch_save_seconds']:g}",
                f"{result['torch_save_share']:.2%}",
            ),
            ("a receipt", f"{result['receipt_seconds']:g}", f"{result['receipt_share']:.3%} of a step"),
        ]
    )
    print(
        f"\nstretches with a save {spread(result['stretches_with'])} s, without {spread(result['stretches_without'])} s"
    )


def main() -> None:
    options = tyro.cli(Options)
    result = measure(SHAPES[options.shape], options)
    show(options.shape, result)
    if options.save:
        path = RESULTS / "saving.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        print(f"\nwritten to {write_results('saving', {**before, options.shape: result})}")


if __name__ == "__main__":
    main()
