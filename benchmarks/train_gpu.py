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
from benchmarks.train_variants import OPTIMIZER, RandomBatches, Shape, Variant, ensue_step, transformers_step
from ensue.core.device import autocast
from ensue.model.config import GPTConfig
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


class PlainBlock(nn.Module):
    """A GPT-2 block as one writes it first."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, tokens, width = x.shape
        parts = self.qkv(self.first(x)).view(rows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(), is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return x + self.down(F.gelu(self.up(self.second(x)), approximate="tanh"))


class PlainGPT(nn.Module):
    """GPT-2 with its loss, in plain modules."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab, config.width)
        self.places = nn.Embedding(config.context, config.width)
        self.blocks = nn.Sequential(*(PlainBlock(config) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.width)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                deep = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.layers) if deep else 0.02)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        logits = F.linear(self.norm(self.blocks(x)), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def plain_step(shape: Shape, variant: Variant, device: torch.device) -> Callable[[int], float]:
    """PlainGPT under torch.compile with fused AdamW."""
    model = PlainGPT(shape.config).to(device)
    forward = torch.compile(model, dynamic=False) if variant.compiled else model
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


def product_rate(device: torch.device) -> float:
    """FLOPs a second of large square bf16 products, the median of ten."""
    size = PRODUCT_SIZE if device.type == "cuda" else 512
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    readings = []
    for _ in range(10):
        begun = time.perf_counter()
        _ = a @ a
        _synchronise(device)
        readings.append(time.perf_counter() - begun)
    return 2.0 * size**3 / median(readings)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    options = tyro.cli(Options)
    config, rows = SHAPES[options.shape]
    shape = Shape(config, options.rows or rows)
    device = torch.device(options.device)
    product = product_rate(device)
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
