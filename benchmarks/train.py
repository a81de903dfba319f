"""Training step beside `transformers`, in turns: python -m benchmarks.train --shape 12m --repeats 7

Every contender is a process of its own, so that its peak memory is its own; only one works at a time, and they take
turns in an order that rotates. Same weights, batches, optimizer and clipping; the losses are reported to show it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Literal

import tyro

from benchmarks.measure import RESULTS, machine, median, print_table, spread, write_results
from benchmarks.train_variants import Shape, Variant, serve_products, serve_steps
from ensue.model.presets import gpt2, preset

SHAPES = {
    "124m": Shape(gpt2(layers=12, width=768, heads=12), rows=2),
    "12m": Shape(preset("gpt2-mini"), rows=16),
    "tiny": Shape(gpt2(layers=2, width=64, heads=2, context=64, vocab=512), rows=4),
}


@dataclass(frozen=True)
class Options:
    """Training step beside `transformers`, in turns."""

    shape: Literal["12m", "124m", "tiny"] = "12m"
    repeats: int = 7
    threads: int = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    """Threads of every contender."""
    only: tuple[str, ...] = ()
    """Contenders to run, by name ("ensue eager bf16"); all in the precision that is faster here unless said."""
    save: bool = True
    """Put the result into benchmarks/results/train.json."""


class Worker:
    """A process that answers each message with one reply."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, message: Any) -> dict[str, Any]:
        self.connection.send(message)
        return self.reply()

    def reply(self) -> dict[str, Any]:
        """What the process sends next. A process that died, killed for memory perhaps, gives an error too."""
        try:
            answer: dict[str, Any] = self.connection.recv()
        except EOFError:
            self.process.join()
            return {"error": f"the process ended with {self.process.exitcode}"}
        return answer

    def stop(self) -> None:
        if self.process.is_alive():
            self.connection.send(None)
        self.process.join()


def choose_variants(*, bf16_is_faster: bool, only: tuple[str, ...]) -> tuple[list[Variant], dict[str, str]]:
    """What to run on this machine, and the reason for each that is left out.

    Every contender holds a model while all take turns, so the slower precision is left out unless asked for by name.
    """
    every = [
        Variant(library, precision, compiled)
        for library in ("ensue", "transformers")
        for precision in ("fp32", "bf16")
        for compiled in (False, True)
    ]
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    reasons: dict[str, str] = {}
    for variant in every:
        if only and variant.name not in only:
            reasons[variant.name] = "not asked for"
        elif not only and variant.precision == "fp32" and bf16_is_faster:
            reasons[variant.name] = "fp32 products are slower than bf16 on this processor; ask for it with --only"
        elif variant.precision == "bf16" and not bf16_is_faster:
            reasons[variant.name] = "bf16 products are slower than fp32 on this processor"
        elif variant.compiled and shutil.which(compiler) is None:
            reasons[variant.name] = f"torch.compile needs a C++ compiler, and {compiler} is not installed"
    return [variant for variant in every if variant.name not in reasons], reasons


def measure_shape(shape: Shape, options: Options) -> dict[str, Any]:
    """All contenders by turns, with the machine's matrix products measured in every round."""
    with tempfile.TemporaryDirectory() as caches, ExitStack() as stack:
        products = Worker(serve_products, options.threads)
        stack.callback(products.stop)
        bf16_is_faster = products.reply()["bf16_is_faster"]
        variants, skipped = choose_variants(bf16_is_faster=bf16_is_faster, only=options.only)
        workers: dict[str, Worker] = {}
        started: dict[str, dict[str, Any]] = {}
        for variant in variants:
            arguments = (shape, variant, os.path.join(caches, variant.name.replace(" ", "-")), options.threads)
            fresh = _first_step(Worker(serve_steps, *arguments), stop=True) if variant.compiled else {}
            worker = Worker(serve_steps, *arguments)
            first = fresh if "error" in fresh else _first_step(worker)
            if "error" in first:
                worker.process.kill()
                skipped[variant.name] = first["error"]
                continue
            stack.callback(worker.stop)
            workers[variant.name] = worker
            started[variant.name] = {"fresh": fresh.get("seconds"), **first}
        rounds: list[dict[str, dict[str, Any]]] = []
        rates: list[dict[str, float]] = []
        names = list(workers)
        for turn in range(options.repeats):
            rates.append(products.ask(turn))
            order = names[turn % len(names) :] + names[: turn % len(names)]
            rounds.append({name: workers[name].ask(turn + 1) for name in order})
            for name, answer in rounds[-1].items():
                if "error" in answer:
                    raise RuntimeError(f"{name} stopped in round {turn + 1}: {answer['error']}")
    product = {precision: median([rate[precision] for rate in rates]) for precision in ("fp32", "bf16")}
    return {
        "model": {name: value for name, value in asdict(shape.config).items() if name != "patterns"},
        "parameters": shape.config.parameters,
        "rows": shape.rows,
        "tokens_per_step": shape.tokens,
        "gflop_per_step": round(shape.flops / 1e9, 2),
        "repeats": options.repeats,
        "threads": options.threads,
        "machine": machine("torch", "transformers"),
        "product_gflops": product,
        "bf16_is_faster": bf16_is_faster,
        "contenders": {
            name: summarise(shape, started[name], [each[name] for each in rounds], product) for name in names
        },
        "skipped": skipped,
        "ensue_over_transformers": compare([{name: each[name]["seconds"] for name in names} for each in rounds]),
    }


def _first_step(worker: Worker, *, stop: bool = False) -> dict[str, Any]:
    """Step 0, which compiles what there is to compile; the error instead if there is one."""
    ready = worker.reply()
    answer = ready if "error" in ready else {**ready, **worker.ask(0)}
    if stop:
        worker.stop()
    return answer


def summarise(
    shape: Shape, started: Mapping[str, Any], steps: list[dict[str, Any]], product: Mapping[str, float]
) -> dict[str, Any]:
    """One contender's numbers. Compiling costs what its first step took beyond a usual one."""
    seconds = [step["seconds"] for step in steps]
    usual = median(seconds)
    fresh = started["fresh"]
    gflops = shape.flops / usual / 1e9
    return {
        "seconds": usual,
        "spread": spread(seconds),
        "all_seconds": [round(each, 5) for each in seconds],
        "tokens_per_second": round(shape.tokens / usual),
        "gflops": round(gflops, 1),
        "share_of_product": round(gflops / max(product.values()), 3),
        "peak_mb": max(step["peak_mb"] for step in steps),
        "built_mb": started["built_mb"],
        "compile_fresh_seconds": None if fresh is None else round(max(0.0, fresh - usual), 1),
        "compile_cached_seconds": None if fresh is None else round(max(0.0, started["seconds"] - usual), 1),
        "losses": [round(started["loss"], 4), *(round(step["loss"], 4) for step in steps)],
    }


def compare(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Our seconds over theirs, the median of the rounds' ratios, so that below 1 is faster; and best against best."""
    ours = [name for name in rounds[0] if name.startswith("ensue")]
    theirs = [name for name in rounds[0] if name.startswith("transformers")]
    pairs = {f"{a} / {b}": (a, b) for a in ours for b in theirs}
    if ours and theirs:
        usual = {name: median([each[name] for each in rounds]) for name in rounds[0]}
        pairs["best / best"] = min(ours, key=usual.__getitem__), min(theirs, key=usual.__getitem__)
    return {title: median([each[a] / each[b] for each in rounds]) for title, (a, b) in pairs.items()}


def show(name: str, result: Mapping[str, Any]) -> None:
    """The result as tables."""
    product = result["product_gflops"]
    print(
        f"{name}: {result['parameters']:,} parameters, {result['tokens_per_step']:,} tokens and "
        f"{result['gflop_per_step']:,} GFLOP a step, {result['threads']} threads; "
        f"products run at {product['fp32']:g} GFLOP/s in fp32, {product['bf16']:g} in bf16\n"
    )
    rows: list[tuple[Any, ...]] = [
        ("", "s/step", "spread", "tokens/s", "GFLOP/s", "of product", "peak MB", "loss", "compile s", "from cache")
    ]
    for contender, numbers in result["contenders"].items():
        compile_seconds = [numbers[f"compile_{kind}_seconds"] for kind in ("fresh", "cached")]
        rows.append(
            (
                contender,
                f"{numbers['seconds']:g}",
                numbers["spread"],
                f"{numbers['tokens_per_second']:,}",
                numbers["gflops"],
                f"{numbers['share_of_product']:.0%}",
                f"{numbers['peak_mb']:,}",
                numbers["losses"][-1],
                *("" if each is None else each for each in compile_seconds),
            )
        )
    print_table(rows)
    print()
    print_table([("seconds, ensue over transformers", ""), *result["ensue_over_transformers"].items()])
    for contender, reason in result["skipped"].items():
        print(f"left out: {contender}: {reason}")


def main() -> None:
    options = tyro.cli(Options)
    result = measure_shape(SHAPES[options.shape], options)
    show(options.shape, result)
    if options.save:
        path = RESULTS / "train.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        print(f"\nwritten to {write_results('train', {**before, options.shape: result})}")


if __name__ == "__main__":
    main()
