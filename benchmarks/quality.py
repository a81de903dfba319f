"""Time to quality beside a plain PyTorch recipe: python -m benchmarks.quality --text tinyshakespeare.txt

A model of one text's characters: the first 90% train, the last 10% validate. In each repeat the baseline (the
well-known CPU recipe: fp32, AdamW, 4 layers of width 128, context 64, 12 sequences a step, 2,000 steps) runs to its
end; then Ensue gets shares of the seconds that took, each share a fresh run. Every run is a process of its own, one at
a time.

On the clock is everything after the imports and after reading the text: building the model, and all steps. Not on it is
reading the validation loss, where each character is a target once, in windows of the model's own context. The C++
kernels are built once beforehand, as on the first run on a machine, and what that takes is reported apart.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import tyro

from benchmarks.measure import machine, median, print_table, write_results
from benchmarks.quality_contenders import Recipe, serve_baseline, serve_build, serve_ensue
from benchmarks.quality_task import Characters
from benchmarks.train import Worker

TARGET = 1.8857
"""Nats a character: what the recipe is known for on tiny Shakespeare."""

BRIEF = Recipe(layers=2, width=128, heads=2, context=64, rows=16)
SHORT = Recipe(layers=4, width=128, heads=2, context=128, rows=16)
LONG = Recipe(layers=4, width=192, heads=3, context=128, rows=16, muon_lr=0.03, decay=0.8)
RECIPES = {"1/16": BRIEF, "1/12": BRIEF, "1/8": BRIEF, "1/3": SHORT, "1": LONG}
"""What Ensue trains in each share of the baseline's time; docs/quality.md holds what else was tried."""

READINGS = 12
"""Of the curves in the picture: the first repeat's baseline, and Ensue's run of the same time."""

PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "time-to-quality.png"


@dataclass(frozen=True)
class Options:
    """Time to quality beside a plain PyTorch recipe."""

    text: Path
    """A text file; the target is that of tiny Shakespeare."""
    repeats: int = 2
    """How often everything runs, each time with another seed."""
    steps: int = 2000
    """The baseline's."""
    threads: int = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    """Threads of every contender."""
    save: bool = True
    """Put the result into benchmarks/results/quality.json, and its picture into docs/pictures."""


def measure_quality(options: Options) -> dict[str, Any]:
    """All rounds, and what they come to."""
    characters = Characters.of(options.text)
    with tempfile.TemporaryDirectory() as cache:
        built = run(serve_build, cache)
        rounds = [measure_round(options, seed, cache) for seed in range(options.repeats)]
    return {
        "text": {
            "name": options.text.name,
            "distinct": characters.vocab,
            "train": len(characters.train.tokens),
            "validation": len(characters.validation.tokens),
        },
        "machine": machine("torch"),
        "threads": options.threads,
        "baseline_steps": options.steps,
        "kernel_build_seconds": round(built["seconds"], 1) if "seconds" in built else built["none"],
        "target": TARGET,
        "recipes": {share: asdict(recipe) for share, recipe in RECIPES.items()},
        "summary": summarise(rounds),
        "rounds": rounds,
    }


def measure_round(options: Options, seed: int, cache: str) -> dict[str, Any]:
    """The baseline, then Ensue in each share of its time, in an order that rotates with the seed."""
    readings = READINGS if seed == 0 else 1
    text, threads = options.text, options.threads
    baseline = run(serve_baseline, text, seed, options.steps, readings, threads)
    print(f"seed {seed}: baseline {baseline['loss']:.4f} in {baseline['seconds']:.1f} s", flush=True)
    shares = list(RECIPES)
    ensue = {}
    for share in shares[seed % len(shares) :] + shares[: seed % len(shares)]:
        seconds = float(Fraction(share)) * baseline["seconds"]
        curve = readings if share == "1" else 1
        ensue[share] = run(serve_ensue, text, seed, RECIPES[share], seconds, curve, threads, cache)
        print(f"seed {seed}: ensue {ensue[share]['loss']:.4f} in {ensue[share]['seconds']:.1f} s", flush=True)
    return {"seed": seed, "baseline": baseline, "ensue": {share: ensue[share] for share in shares}}


def run(target: Callable[..., None], *arguments: Any) -> dict[str, Any]:
    """The one reply of a process of its own. Raises RuntimeError where it ends without one."""
    worker = Worker(target, *arguments)
    answer = worker.reply()
    worker.process.join()
    if "error" in answer:
        raise RuntimeError(f"{target.__name__}: {answer['error']}; its own message is above.")
    return answer


def summarise(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds, and the smallest share of the baseline's time in which all of them reach the target."""
    rows = {"baseline": [each["baseline"] for each in rounds]}
    rows |= {share: [each["ensue"][share] for each in rounds] for share in RECIPES}
    summary = {
        name: {
            "seconds": median([run["seconds"] for run in runs]),
            "loss": round(statistics.median(run["loss"] for run in runs), 4),
            "losses": [run["loss"] for run in runs],
        }
        for name, runs in rows.items()
    }
    reached = [share for share in RECIPES if all(run["loss"] <= TARGET for run in rows[share])]
    first = min(reached, key=Fraction, default=None)
    return {
        "baseline": summary.pop("baseline"),
        "ensue": summary,
        "share_that_reaches_the_target": first,
        "seconds_to_the_target": None if first is None else summary[first]["seconds"],
    }


def show(result: Mapping[str, Any]) -> None:
    """The summary as a table."""
    summary, first = result["summary"], result["rounds"][0]
    rows: list[tuple[Any, ...]] = [("", "seconds", "nats a character", "each repeat", "parameters", "tokens")]
    named = [("baseline", summary["baseline"], first["baseline"])]
    named += [(f"ensue, {share} of its time", summary["ensue"][share], first["ensue"][share]) for share in RECIPES]
    for name, numbers, run in named:
        losses = f"{numbers['loss']:.4f}", " ".join(f"{loss:.4f}" for loss in numbers["losses"])
        rows.append((name, f"{numbers['seconds']:.1f}", *losses, f"{run['parameters']:,}", f"{run['tokens']:,}"))
    print_table(rows)
    share, seconds = summary["share_that_reaches_the_target"], summary["seconds_to_the_target"]
    reached = "in no share of its time" if share is None else f"in {share} of its time, {seconds} s"
    print(f"\nensue is at {TARGET} nats or below {reached}")
    print(f"building the kernels, once on a machine: {result['kernel_build_seconds']} s")


def draw(result: Mapping[str, Any], target: Path) -> None:
    """Validation loss over seconds as a PNG: two runs on their way, and where each of the other runs ended."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    first, rounds = result["rounds"][0], result["rounds"]
    ends = [run for each in rounds for run in each["ensue"].values()]
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120)
    axes.plot(*zip(*first["baseline"]["curve"], strict=True), "o-", color="#c0504d", markersize=3, label="baseline")
    axes.plot(
        *zip(*first["ensue"]["1"]["curve"], strict=True),
        "o-",
        color="#1f4e79",
        markersize=3,
        label="Ensue, given the baseline's time",
    )
    axes.plot(
        [run["seconds"] for run in ends],
        [run["loss"] for run in ends],
        "D",
        color="#e08a1e",
        markersize=5,
        label="Ensue, the end of a run of that length",
    )
    axes.axhline(result["target"], color="#777777", linewidth=0.9, linestyle="--")
    words = f"{result['target']} nats"
    axes.annotate(words, (0.995, result["target"] - 0.01), xycoords=("axes fraction", "data"), ha="right", va="top")
    axes.set(xlabel=f"seconds of training, {result['threads']} threads", xlim=(0, None))
    axes.set(ylabel="validation loss, nats a character", title=f"Characters of {result['text']['name']}")
    axes.set_ylim(top=2.8)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)
    pyplot.close(figure)


def main() -> None:
    options = tyro.cli(Options)
    result = measure_quality(options)
    show(result)
    if options.save:
        print(f"\nwritten to {write_results('quality', result)}")
        draw(result, PICTURE)


if __name__ == "__main__":
    main()
