"""Multiple choice beside lm-evaluation-harness: python -m benchmarks.evaluate DATA, where DATA holds tasks/ and bpe/.

GPT-2's 124M shape in fp32 on the CPU, random weights, its real tokenizer, and real items with five examples before
each. The contenders are asked the same texts: Ensue, which computes what requests share once; Ensue one request at a
time; the harness's `hf` backend, at the batch size that a trial of a few items finds fastest for it. On the clock is
everything from text to log-probabilities, and not the loading of the model. The items come in slices, for each of which
all contenders take turns; what is shared across slices is computed again in each.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.evaluate_contenders import serve
from benchmarks.evaluate_items import CASES, SHOTS, Item, read_items
from benchmarks.measure import machine, print_table, write_results
from benchmarks.train import Worker

ENSUE, ALONE = "ensue", "ensue, each request alone"


@dataclass(frozen=True)
class Options:
    """Multiple choice beside lm-evaluation-harness."""

    data: Annotated[Path, tyro.conf.Positional]
    """A folder that holds tasks/ and bpe/gpt2/."""
    items: int = 500
    slices: int = 5
    """Turns that every contender gets; each answers its share of the items in one."""
    trial: int = 8
    """Items on which the harness's batch sizes are tried."""
    sizes: tuple[str, ...] = ("1", "2", "4", "8", "16", "32", "auto")
    """The harness's batch sizes to try."""
    cases: tuple[str, ...] = ("arc_easy",)
    """Which cases to run: those whose name begins with one of these."""
    threads: int = len(os.sched_getaffinity(0))
    save: bool = True
    """Put the result into benchmarks/results/evaluate.json."""


def build_folder(folder: Path, tokenizer: Path) -> int:
    """A Hugging Face folder that both libraries open; how many parameters it has."""
    from transformers import GPT2TokenizerFast

    from ensue.model.gpt import GPT
    from ensue.model.presets import preset
    from ensue.model.weights import save_model

    model = GPT.build(preset("gpt2"), 0)
    save_model(model.eval(), folder)
    GPT2TokenizerFast.from_pretrained(tokenizer).save_pretrained(folder)
    return model.config.parameters


def measure_case(name: str, options: Options, folder: Path) -> dict[str, Any]:
    """One case: the trial of batch sizes, then all contenders in turn, slice by slice."""
    items = read_items(CASES[name], options.data / "tasks", options.items)
    trial = {size: _tried(f"lm-eval, batch {size}", items[: options.trial], folder, options) for size in options.sizes}
    finished = {size: seconds for size, seconds in trial.items() if seconds is not None}
    harness = f"lm-eval, batch {min(finished, key=finished.__getitem__)}"
    names = [ENSUE, ALONE, harness]
    workers = {each: _start(each, folder, options) for each in names}
    turns: dict[str, list[dict[str, Any]]] = {each: [] for each in names}
    size = -(-len(items) // options.slices)
    for turn, first in enumerate(range(0, len(items), size)):
        pairs = [pair for item in items[first : first + size] for pair in item.pairs]
        for place in range(len(names)):
            each = names[(turn + place) % len(names)]
            turns[each].append(workers[each].ask(pairs))
            print(f"{name}: items {first} to {first + size}, {each}: {turns[each][-1]['seconds']:.1f} s", flush=True)
    for worker in workers.values():
        worker.stop()
    return {
        "items": len(items),
        "shots": SHOTS,
        "requests": sum(len(item.continuations) for item in items),
        "slices": options.slices,
        "seconds_of_trial": trial,
        "contenders": {each: _summary(items, turns[each]) for each in names},
        **_comparison(turns, harness),
    }


def _start(contender: str, folder: Path, options: Options) -> Worker:
    """A contender that has loaded its model and answered something once."""
    worker = Worker(serve, contender, str(folder), options.threads)
    worker.reply()
    worker.ask([("The quick brown fox", " jumps")] * 2)
    return worker


def _tried(contender: str, items: Sequence[Item], folder: Path, options: Options) -> float | None:
    """Seconds that the items take, or None where the process dies of it."""
    worker = _start(contender, folder, options)
    answer = worker.ask([pair for item in items for pair in item.pairs])
    worker.stop()
    return None if "error" in answer else round(float(answer["seconds"]), 2)


def _answers(turns: Sequence[Mapping[str, Any]]) -> list[tuple[float, bool]]:
    return [answer for turn in turns for answer in turn["answers"]]


def _summary(items: Sequence[Item], turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    seconds = [turn["seconds"] for turn in turns]
    return {
        "seconds": round(sum(seconds), 2),
        "seconds_of_slices": [round(each, 2) for each in seconds],
        "cpu_seconds": round(sum(turn["cpu_seconds"] for turn in turns), 2),
        "peak_mb": max(turn["peak_mb"] for turn in turns),
        **_accuracies(items, _answers(turns)),
    }


def _accuracies(items: Sequence[Item], answers: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """The harness's `acc` and `acc_norm`: the likeliest choice, and that by its length in characters."""
    left = iter(answers)
    right = normed = 0
    for item in items:
        nats = [next(left)[0] for _ in item.continuations]
        shares = [each / (len(text) - 1) for each, text in zip(nats, item.continuations, strict=True)]
        right += nats.index(max(nats)) == item.label
        normed += shares.index(max(shares)) == item.label
    return {"accuracy": right / len(items), "accuracy_per_character": normed / len(items)}


def _comparison(turns: Mapping[str, Sequence[Mapping[str, Any]]], harness: str) -> dict[str, Any]:
    seconds = {name: sum(turn["seconds"] for turn in each) for name, each in turns.items()}
    answers = {name: _answers(each) for name, each in turns.items()}

    def apart(other: str) -> dict[str, Any]:
        both = list(zip(answers[ENSUE], answers[other], strict=True))
        return {
            "seconds_over_ensue": round(seconds[other] / seconds[ENSUE], 2),
            "largest_difference_in_nats": max(abs(one[0] - two[0]) for one, two in both),
            "greedy_alike": sum(one[1] == two[1] for one, two in both),
        }

    return {"alone": apart(ALONE), "harness": apart(harness)}


def show(name: str, result: Mapping[str, Any]) -> None:
    print(f"\n{name}: {result['items']} items, {result['requests']} requests, {result['shots']} examples")
    heading = ("", "seconds", "over ensue", "CPU seconds", "over ensue", "accuracy", "per character", "peak MB")
    rows: list[tuple[Any, ...]] = [heading]
    ours = result["contenders"][ENSUE]
    for contender, numbers in result["contenders"].items():
        accuracies = (f"{numbers[each]:.4f}" for each in ("accuracy", "accuracy_per_character"))
        times = [(numbers[each], f"{numbers[each] / ours[each]:.2f}") for each in ("seconds", "cpu_seconds")]
        rows.append((contender, *times[0], *times[1], *accuracies, numbers["peak_mb"]))
    print_table(rows)
    for other in ("alone", "harness"):
        print(f"largest difference from {other}: {result[other]['largest_difference_in_nats']:.2g} nats")


def main() -> None:
    options = tyro.cli(Options)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "gpt2"
        parameters = build_folder(folder, options.data / "bpe" / "gpt2")
        for name in CASES:
            if not name.startswith(options.cases):
                continue
            results[name] = measure_case(name, options, folder)
            show(name, results[name])
            told = {
                "parameters": parameters,
                "threads": options.threads,
                "machine": machine("torch", "transformers", "lm-eval"),
                "load_average_at_the_end": round(os.getloadavg()[1], 1),
                "cases": results,
            }
            if options.save:  # what is measured so far
                print(f"\nwritten to {write_results('evaluate', told)}")


if __name__ == "__main__":
    main()
