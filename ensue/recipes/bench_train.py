"""How fast one training step is here, beside the machine's own matrix products, and where the rest of the time goes."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from rich.bar import Bar
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, record_function

from ensue.core.device import choose_device, choose_precision, product_rate
from ensue.core.native import why_no_kernels
from ensue.loss.next_token import NextToken
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.recipes.compiling import compiled_states
from ensue.recipes.display import Display
from ensue.recipes.machine import ready_machine
from ensue.tokens.batch import Batch
from ensue.train.engine import Engine
from ensue.train.optimizer import Optimizer, OptimizerConfig
from ensue.train.schedule import Schedule

PRODUCT_SIZE = 2048
"""Side of the square matrices whose product gives the machine's rate."""

DATA = "ensue.data"
OWNERS = (
    ("data", (DATA,)),
    ("optimizer", ("Optimizer.step", "Optimizer.zero_grad")),
    ("head", ("_FusedCrossEntropy", "_LinearCrossEntropy")),
    ("attention", ("_Attention", "scaled_dot_product", "flex_attention", "sparse_attention")),
    ("products", ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear")),
)
"""Parts of a step, and how the profiler's events that begin one of them are called. The innermost owner counts, except
that whatever happens inside the first four belongs to them."""

PARTS = ("products", "attention", "head", "optimizer", "data", "other")


@dataclass(frozen=True)
class Part:
    """One part of a step: its seconds, its FLOPs, and the share of the step by which it falls short of the products'
    rate."""

    name: str
    seconds: float
    flops: float
    lost: float


@dataclass(frozen=True)
class Speed:
    """A step measured. `reached` is its FLOPs a second over those of square products; with every `lost` it makes 1."""

    parameters: int
    tokens: int
    device: str
    precision: str
    threads: int
    kernels: str
    seconds: float
    first_seconds: float
    tokens_per_second: float
    flops_per_second: float
    product_flops_per_second: float
    reached: float
    peak_bytes: int
    parts: tuple[Part, ...]


def bench_train(
    model_config: GPTConfig,
    *,
    rows: int,
    steps: int,
    device_name: str,
    precision_name: Literal["auto", "fp32", "bf16"],
    optimizer: Literal["adamw", "muon"],
    compile_mode: Literal["auto", "on", "off"],
    display: Display,
) -> Speed:
    """Time `steps` whole optimizer steps on `rows` random sequences of the model's context. Raises ValueError for less
    than one row or three steps."""
    if rows < 1 or steps < 3:
        raise ValueError(f"--rows must be 1 or more and --steps 3 or more, not {rows} and {steps}.")
    device = choose_device(device_name)
    precision = choose_precision(precision_name, device)
    ready_machine(device, precision, display)
    model = GPT.build(model_config, 0).to(device)
    engine = Engine(
        model=model,
        objective=NextToken(compiled_states(model, compile_mode, display)),
        stream=_RandomTokens(model_config, rows),
        optimizer=Optimizer(model, OptimizerConfig(kind=optimizer, muon_precision=precision)),
        schedule=Schedule("constant", 0, 1),
        clip=1.0,
        device=device,
        precision=precision,
        seed=0,
    )
    first, *_ = [_timed(engine, index, device) for index in range(2)]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    readings, rates = [], []
    with display.bar("timing", steps, f"{steps} steps") as bar:
        for index in range(steps):
            rates.append(product_rate(device, dtype, size=PRODUCT_SIZE, readings=3))
            readings.append(_timed(engine, index + 2, device))
            bar.advance(1)
    seconds, rate = statistics.median(readings), statistics.median(rates)
    tokens = rows * model_config.context
    flops = _flops(model_config, tokens)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler writes of itself between our lines
    parts = _parts(engine, seconds=seconds, flops=flops, rate=rate, index=steps + 2)
    total = sum(flops.values())
    return Speed(
        parameters=model_config.parameters,
        tokens=tokens,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        precision=precision,
        threads=torch.get_num_threads(),
        kernels=_kernels(device, precision),
        seconds=seconds,
        first_seconds=first,
        tokens_per_second=tokens / seconds,
        flops_per_second=total / seconds,
        product_flops_per_second=rate,
        reached=total / seconds / rate,
        peak_bytes=_peak_bytes(device),
        parts=parts,
    )


def show_speed(speed: Speed, display: Display) -> None:
    """The figures, and the waterfall from the products' rate down to the step's."""
    memory = f"{speed.peak_bytes / 1e9:.2f} GB at most"
    display.say(
        f"{speed.parameters:,} parameters, {speed.tokens:,} tokens a step, {speed.precision} on {speed.device}, "
        f"{speed.threads} threads, {memory}\n"
        f"{speed.kernels}\n"
        f"{speed.seconds * 1e3:,.1f} ms a step (the first {speed.first_seconds:,.1f} s), "
        f"{speed.tokens_per_second:,.0f} tokens/s\n"
        f"{speed.flops_per_second / 1e9:,.0f} GFLOP/s, {speed.reached:.0%} of the "
        f"{speed.product_flops_per_second / 1e9:,.0f} that products of {PRODUCT_SIZE} x {PRODUCT_SIZE} matrices reach"
    )
    table = Table(title="from the products' rate down to this step's", title_justify="left", box=None, pad_edge=False)
    for name in ("part", "ms", "GFLOP/s", "lost", ""):
        table.add_column(name, justify="left" if name in ("part", "") else "right")
    left = 1.0
    for part in speed.parts:
        rate = f"{part.flops / part.seconds / 1e9:,.0f}" if part.flops and part.seconds else ""
        fall = min(max(part.lost, 0.0), left)
        bar = Bar(1.0, left - fall, left, width=40)
        table.add_row(part.name, f"{part.seconds * 1e3:,.1f}", rate, f"{part.lost:.1%}", bar)
        left -= fall
    table.add_row("reached", "", "", f"{speed.reached:.1%}", Bar(1.0, 0.0, left, width=40))
    display.show(table)
    display.say(
        "other: norms, activations, sums, embeddings, clipping, and what Python takes between them", style="dim"
    )


def speed_as_json(speed: Speed) -> str:
    """All figures, in seconds, bytes and FLOPs a second."""
    return json.dumps(asdict(speed), indent=1)


@dataclass(frozen=True)
class _RandomTokens:
    config: GPTConfig
    rows: int

    def batches(self, step: int) -> Iterator[Batch]:
        with record_function(DATA):
            generator = torch.Generator().manual_seed(step)
            shape = (self.rows, self.config.context + 1)
            ids = torch.randint(self.config.vocab, shape, generator=generator)
            weights = torch.ones(self.rows, self.config.context)
            batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), weights)
        yield batch

    def documents(self, step: int) -> list[Any]:
        return []


def _timed(engine: Engine, index: int, device: torch.device) -> float:
    start = time.perf_counter()
    engine.step(index)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _flops(config: GPTConfig, tokens: int) -> dict[str, float]:
    """Training FLOPs of a step by part, as `GPTConfig.flops_per_token` counts them."""
    head = 6.0 * config.vocab * config.width * tokens
    layers = 6.0 * config.matrix_parameters * tokens - head
    total = config.flops_per_token(config.context) * tokens
    return {"products": layers, "attention": total - layers - head, "head": head}


def _parts(engine: Engine, *, seconds: float, flops: Mapping[str, float], rate: float, index: int) -> tuple[Part, ...]:
    """One step under the profiler, whose shares are applied to `seconds`; what no event covers counts as "other"."""
    cuda = engine.device.type == "cuda"
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler would announce itself on standard error
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiled:
        wall = _timed(engine, index, engine.device)
    spent = dict.fromkeys(PARTS, 0.0)
    for event in profiled.events() or ():
        own = event.self_device_time_total if cuda else event.self_cpu_time_total
        spent[_owner(event)] += own / 1e6
    spent["other"] += max(0.0, wall - sum(spent.values()))
    scale = seconds / sum(spent.values())
    return tuple(
        Part(
            name,
            spent[name] * scale,
            flops.get(name, 0.0),
            (spent[name] * scale - flops.get(name, 0.0) / rate) / seconds,
        )
        for name in PARTS
    )


def _owner(event: Any) -> str:
    """The part an event belongs to: that of the outermost of its callers that owns all it calls, else its own."""
    found = "other"
    at = event
    while at is not None:
        for part, names in OWNERS:
            if any(name in at.name for name in names) and (part != "products" or found == "other"):
                found = part
        at = at.cpu_parent
    return found


def _kernels(device: torch.device, precision: str) -> str:
    """Which kernels ran, in a sentence."""
    if device.type != "cpu" or precision != "bf16":
        return "PyTorch's own kernels are used"
    reason = why_no_kernels()
    return "Ensue's CPU kernels are used" if reason is None else f"PyTorch's own kernels are used: {reason}"


def _peak_bytes(device: torch.device) -> int:
    """Most memory that was held: the GPU's, or this process's."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if os.name != "posix":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
