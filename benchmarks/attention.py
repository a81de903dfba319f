"""Dense and sparse attention over length, forward and backward: python -m benchmarks.attention --lengths 1024 2048

Contenders take turns in an order that rotates, each in a process of its own; peak memory is measured in one for each
contender and length. What was measured before is kept, so that a long curve can be measured in pieces.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import tyro

from benchmarks.measure import RESULTS, machine, median, print_table, spread, write_results
from benchmarks.train import Worker
from ensue.model.patterns import Banded, Dense, Fixed, Pattern, Strided

HEADS, WIDTH = 12, 64
"""GPT-2's smallest: 12 heads of 64, one row."""
WINDOW, SUMMARY = 256, 8
PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "sparse-attention.png"
BASELINE = "dense, torch"


@dataclass(frozen=True)
class Contender:
    """`engine` "torch" of the dense kind is torch's own scaled_dot_product_attention; of a sparse one, our tiles."""

    kind: Literal["dense", "banded", "strided", "fixed"]
    engine: Literal["kernel", "torch"]

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.engine}"

    def pattern(self, length: int) -> Pattern:
        """Strides are the power of two at or above the root of the length, as both sets of a strided query then have
        about the same size (Child et al. 2019, section 4.2)."""
        stride = 2 ** math.ceil(math.log2(math.sqrt(length)))
        patterns = {
            "dense": Dense(),
            "banded": Banded(WINDOW),
            "strided": Strided(stride),
            "fixed": Fixed(stride, SUMMARY),
        }
        return patterns[self.kind]


CONTENDERS = [
    Contender(kind, engine) for engine in ("torch", "kernel") for kind in ("dense", "banded", "strided", "fixed")
]


@dataclass(frozen=True)
class Options:
    """Dense and sparse attention over length, forward and backward."""

    lengths: tuple[int, ...] = (1024, 2048, 4096, 8192, 16384)
    rounds: int = 5
    threads: int = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    time: bool = True
    memory: bool = True
    """Linux only."""
    save: bool = True
    """Add the result to benchmarks/results/attention.json, and draw docs/pictures/sparse-attention.png of all of it."""


def serve(connection: Connection, contender: Contender, threads: int) -> None:
    """Answer ("seconds" or "peak_mb", length) with that of one forward and backward pass; None ends it."""
    if contender.engine == "torch":
        os.environ["ENSUE_KERNELS"] = "off"
    import torch

    from ensue.core.native import Unavailable, load_kernels

    torch.set_num_threads(threads)
    if contender.engine == "kernel":
        try:
            load_kernels()
        except Unavailable as reason:
            connection.send({"error": str(reason)})
            return
    make_step(contender, 256)()  # load what is loaded at the first call
    connection.send({})
    steps: dict[int, Callable[[], float]] = {}
    while (message := connection.recv()) is not None:
        what, length = message
        if length not in steps:
            steps = {length: make_step(contender, length)}
        if what == "seconds":
            connection.send({"seconds": steps[length]()})
        else:
            before = _resident("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
            steps[length]()
            connection.send({"peak_mb": round((_resident("VmHWM") - before) / 2**20, 1)})


def make_step(contender: Contender, length: int) -> Callable[[], float]:
    """One forward and backward pass, which returns its seconds."""
    import torch
    import torch.nn.functional as F

    from ensue.model.sparse import sparse_attention

    scale = WIDTH**-0.5
    pattern = contender.pattern(length)
    made = torch.randn(1, length, 3, HEADS, WIDTH).bfloat16().unbind(2)
    inputs = [part.transpose(1, 2).detach().requires_grad_() for part in made]
    outer = torch.randn(1, length, HEADS, WIDTH).bfloat16().transpose(1, 2)

    def run() -> float:
        begun = time.perf_counter()
        if contender.name == BASELINE:
            out = F.scaled_dot_product_attention(*inputs, is_causal=True, scale=scale)
        else:
            out = sparse_attention(*inputs, pattern, scale=scale)
        torch.autograd.grad(out, inputs, outer)
        return time.perf_counter() - begun

    return run


def _resident(name: str) -> int:
    """Bytes of this process in memory: now (VmRSS) or at most (VmHWM)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def start(stack: ExitStack, options: Options) -> tuple[dict[str, Worker], dict[str, str]]:
    """A process for each contender, and the reason for each that cannot run."""
    started = {contender.name: Worker(serve, contender, options.threads) for contender in CONTENDERS}
    for worker in started.values():
        stack.callback(worker.stop)
    answers = {name: worker.reply() for name, worker in started.items()}
    reasons = {name: answer["error"] for name, answer in answers.items() if "error" in answer}
    return {name: worker for name, worker in started.items() if name not in reasons}, reasons


def measure_memory(length: int, options: Options) -> dict[str, Any]:
    with ExitStack() as stack:
        workers, _ = start(stack, options)
        return {"peak_mb": {name: worker.ask(("peak_mb", length))["peak_mb"] for name, worker in workers.items()}}


def measure_time(workers: Mapping[str, Worker], length: int, options: Options) -> dict[str, Any]:
    names = list(workers)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, options.rounds):  # the first does not count
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            reading = workers[name].ask(("seconds", length))["seconds"]
            if turn >= 0:
                seconds[name].append(reading)
    return {
        "seconds": {name: median(readings) for name, readings in seconds.items()},
        "spread": {name: spread(readings) for name, readings in seconds.items()},
        "times_faster_than_dense": {
            name: {
                dense: median([slow / fast for slow, fast in zip(seconds[dense], readings, strict=True)])
                for dense in names
                if dense.startswith("dense")
            }
            for name, readings in seconds.items()
            if not name.startswith("dense")
        },
        "rounds": options.rounds,
        "threads": options.threads,
    }


def show(length: int, result: Mapping[str, Any]) -> None:
    faster = result.get("times_faster_than_dense", {})
    rows: list[tuple[Any, ...]] = [(f"{length:,} tokens", "seconds", "spread", "peak MB", "times faster than dense")]
    for contender in CONTENDERS:
        name = contender.name
        ratios = ", ".join(f"{ratio:.3g} ({dense.split(', ')[1]})" for dense, ratio in faster.get(name, {}).items())
        rows.append((name, *(result.get(key, {}).get(name, "") for key in ("seconds", "spread", "peak_mb")), ratios))
    print_table(rows)
    print()


def draw(lengths: Mapping[str, Any]) -> None:
    """Time and memory over length, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = {"dense": "#444444", "banded": "#1f77b4", "strided": "#d62728", "fixed": "#2ca02c"}
    ordered = sorted(lengths, key=int)
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for panel, key, title in zip(panels, ("seconds", "peak_mb"), ("seconds", "peak MB"), strict=True):
        for contender in CONTENDERS:
            points = [
                (int(length), lengths[length][key][contender.name])
                for length in ordered
                if contender.name in lengths[length].get(key, {})
            ]
            if points:
                style = "-" if contender.engine == "kernel" else "--"
                panel.loglog(*zip(*points, strict=True), style, marker="o", ms=3, color=colours[contender.kind])
                panel.lines[-1].set_label(contender.name)
        if key == "peak_mb":
            _slope(panel, ordered, lengths)
        panel.set_xscale("log", base=2)
        panel.set_xticks([int(length) for length in ordered], [f"{int(length) // 1024}k" for length in ordered])
        panel.set_xlabel("tokens")
        panel.set_title(f"attention, forward and backward: {title}")
        panel.grid(alpha=0.3, which="both")
        panel.legend(fontsize=8)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def _slope(panel: Any, ordered: list[str], lengths: Mapping[str, Any]) -> None:
    """What grows as n sqrt n, drawn through the first of the strided points."""
    begun = [length for length in ordered if "peak_mb" in lengths[length]]
    if begun:
        first = max(peak for name, peak in lengths[begun[0]]["peak_mb"].items() if name.startswith("strided"))
        line = [first * (int(length) / int(begun[0])) ** 1.5 for length in begun]
        panel.loglog([int(length) for length in begun], line, ":", color="#999999", label="n √n")


def main() -> None:
    options = tyro.cli(Options)
    path = RESULTS / "attention.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["lengths"] if options.save and path.exists() else {}
    with ExitStack() as stack:
        workers, reasons = start(stack, options) if options.time else ({}, {})
        for length in options.lengths:
            result = {"patterns": {each.kind: str(each.pattern(length)) for each in CONTENDERS}, "skipped": reasons}
            result |= measure_memory(length, options) if options.memory else {}
            result |= measure_time(workers, length, options) if options.time else {}
            kept[str(length)] = kept.get(str(length), {}) | result
            show(length, kept[str(length)])
    for name, reason in reasons.items():
        print(f"left out: {name}: {reason}")
    if options.save:
        kept = dict(sorted(kept.items(), key=lambda item: int(item[0])))
        shape = {"rows": 1, "heads": HEADS, "head_width": WIDTH, "precision": "bf16"}
        written = write_results("attention", {"machine": machine("torch"), "shape": shape, "lengths": kept})
        draw(kept)
        print(f"written to {written} and {PICTURE}")


if __name__ == "__main__":
    main()
