"""Training step on a GPU beside `transformers` and a plain compiled GPT: python -m benchmarks.train_gpu --shape 124m

Each contender runs alone in a process of its own, since all would not fit, and they take turns over the rounds. MFU is
6N plus attention over the GPU's peak: what is given with --peak, or else the rate of its own large products.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from benchmarks.measure import RESULTS, machine, median, print_table, write_results
from benchmarks.plain import PlainGPT
from benchmarks.train_variants import OPTIMIZER, RandomBatches, Shape, Variant, ensue_step, transformers_step
from ensue.core.device import autocast, product_rate
from ensue.model.presets import gpt2

SHAPES = {
    "124m": (gpt2(layers=12, width=768, heads=12), 32),
    "350m": (gpt2(layers=24, width=1024, heads=16), 16),
    "1.5b": (gpt2(layers=48, width=1600, heads=25), 4),
    "tiny": (gpt2(layers=2, width=64, heads=2, context=64, vocab=512), 4),
}
"""Models, and sequences a step."""

CONTENDERS = ("ensue", "transformers", "plain")
PRODUCT_SIZE = 8192


@dataclass(frozen=True)
class Options:
    """Training step on a GPU, contender after contender."""

    shape: Literal["124m", "350m", "1.5b", "tiny"] = "124m"
    rows: int | None = None
    """Sequences a step; the shape's own unless said."""
    rounds: int = 2
    steps: int = 10
    """Steps timed in each round, after three to warm up."""
    device: str = "cuda"
    peak: float | None = None
    """The GPU's bf16 peak in FLOPs a second, such as 989e12."""
    save: bool = True


def plain_step(shape: Shape, variant: Variant, device: torch.device) -> Callable[[int], float]:
    """PlainGPT under torch.compile with fused AdamW."""
    config = shape.config
    model = PlainGPT(
        config.vocab, layers=config.layers, width=config.width, heads=config.heads, context=config.context, bias=True
    ).to(device)

    def loss_of(ids: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())

    forward = torch.compile(loss_of, dynamic=False) if variant.compiled else loss_of
    optimizer = torch.optim.AdamW(model.parameters(), lr=OPTIMIZER.lr, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    stream = RandomBatches(shape)

    def run(index: int) -> float:
        batch = next(stream.batches(index)).to(device)
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, variant.precision):
            loss = forward(batch.tokens, batch.targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.clip or math.inf)
        optimizer.step()
        return float(loss.detach())

    return run


def serve(connection: Connection, contender: str, shape: Shape, options: Options) -> None:
    """Measure one contender once and send {"seconds", "first", "loss", "peak_mb"}, or {"error"}."""
    device = torch.device(options.device)
    variant = Variant("ensue", "bf16", compiled=device.type == "cuda")
    makers = {"ensue": ensue_step, "transformers": transformers_step, "plain": plain_step}
    try:
        torch.set_float32_matmul_precision("high")
        run = makers[contender](shape, variant, device)
        begun = time.perf_counter()
        run(0)
        first = time.perf_counter() - begun
        for index in (1, 2):
            run(index)
        seconds = []
        for index in range(3, 3 + options.steps):
            begun = time.perf_counter()
            loss = run(index)  # reading the loss waits for the GPU
            _synchronise(device)
            seconds.append(time.perf_counter() - begun)
        peak = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else 0.0
        connection.send({"seconds": median(seconds), "first": first, "loss": loss, "peak_mb": round(peak)})
    except Exception as error:
        connection.send({"error": f"{type(error).__name__}: {error}".splitlines()[0]})


def measure(contender: str, shape: Shape, options: Options) -> dict[str, Any]:
    """One contender, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, contender, shape, options))
    process.start()
    theirs.close()
    try:
        answer: dict[str, Any] = ours.recv()
    except EOFError:
        answer = {"error": "the process ended without an answer"}
    process.join()
    return answer


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    options = tyro.cli(Options)
    config, rows = SHAPES[options.shape]
    shape = Shape(config, options.rows or rows)
    device = torch.device(options.device)
    size = PRODUCT_SIZE if device.type == "cuda" else 512
    product = product_rate(device, torch.bfloat16, size=size, readings=10)
    peak = options.peak or product
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for turn in range(options.rounds):
        for name in (*CONTENDERS[turn % 3 :], *CONTENDERS[: turn % 3]):
            answers[name].append(measure(name, shape, options))
    results: dict[str, Any] = {}
    table: list[tuple[Any, ...]] = [("", "ms/step", "tokens/s", "MFU", "peak MB", "loss", "first step s")]
    for name, rounds in answers.items():
        errors = [each["error"] for each in rounds if "error" in each]
        if errors:
            results[name] = {"error": errors[0]}
            print(f"{name}: {errors[0]}")
            continue
        seconds = median([each["seconds"] for each in rounds])
        numbers = {
            "seconds": seconds,
            "tokens_per_second": round(shape.tokens / seconds),
            "mfu": round(shape.flops / seconds / peak, 3),
            "peak_mb": max(each["peak_mb"] for each in rounds),
            "loss": round(rounds[0]["loss"], 4),
            "first_seconds": round(max(each["first"] for each in rounds), 1),
        }
        results[name] = numbers
        table.append((name, f"{seconds * 1e3:.1f}", *list(numbers.values())[1:]))
    print_table(table)
    if options.save:
        gpu = torch.cuda.get_device_name() if device.type == "cuda" else "none"
        result = {"rows": shape.rows, "gpu": gpu, "product_flops": product, "peak_flops": peak, "contenders": results}
        path = RESULTS / "train_gpu.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        whole = {**before, options.shape: {**result, "machine": machine("torch", "transformers")}}
        print(f"\nwritten to {write_results('train_gpu', whole)}")


if __name__ == "__main__":
    main()
