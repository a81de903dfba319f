"""Fine-tuning step beside `transformers`' Trainer, in turns: python -m benchmarks.fine_tuning --shape gpt

The paper's own setting: 32 two-way choices of ROCStories' lengths a step, the head's and the text's loss, dropout 0.1.
Every contender is a process of its own; only one works at a time. Random numbers differ, so losses are only alike.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import tyro

from benchmarks.fine_tuning_contenders import Job, serve_ensue, serve_trainer
from benchmarks.measure import machine, median, print_table, spread, write_results
from benchmarks.train import Worker
from ensue.model.presets import gpt

SHAPES = {
    "gpt": Job(gpt(vocab=40_481)),
    "tiny": Job(gpt(layers=2, width=64, heads=2, vocab=512), batch=4),
}


@dataclass(frozen=True)
class Options:
    """Fine-tuning step beside `transformers`' Trainer, in turns."""

    shape: Literal["gpt", "tiny"] = "gpt"
    """GPT's own size, or one that takes no time."""
    repeats: int = 5
    threads: int = os.cpu_count() or 1
    save: bool = True
    """Put the result into benchmarks/results/fine_tuning.json."""


def main(options: Options) -> None:
    job = SHAPES[options.shape]
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, serve in (("ensue", serve_ensue), ("transformers' Trainer", serve_trainer)):
            workers[name] = Worker(serve, job, options.threads)
            stack.callback(workers[name].stop)
            workers[name].reply()
        names = list(workers)
        steps: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for turn in range(options.repeats + 1):
            for place in range(len(names)):
                name = names[(turn + place) % len(names)]
                answer = workers[name].ask(turn)
                if "error" in answer:
                    raise SystemExit(f"{name}: {answer['error']}")
                steps[name].append(answer)
    counted = {name: [step["seconds"] for step in found[1:]] for name, found in steps.items()}
    stream = job.stream()
    tokens = [stream.tokens(turn) for turn in range(1, options.repeats + 1)]
    ours, theirs = (counted[name] for name in names)
    ratio = median([one / other for one, other in zip(ours, theirs, strict=True)])
    rows = [["contender", "seconds a step", "spread", "tokens/s", "peak MB", "losses"]]
    for name in names:
        speed = round(sum(tokens) / sum(counted[name]))
        losses = ", ".join(f"{step['loss']:.3f}" for step in steps[name][:4])
        rows.append([name, str(median(counted[name])), spread(counted[name]), f"{speed:,}"])
        rows[-1] += [f"{max(step['peak_mb'] for step in steps[name]):,.0f}", losses]
    print_table(rows)
    print(f"ours over theirs: {ratio}")
    if options.save and options.shape == "gpt":
        results = {
            "batch": job.batch,
            "tokens_per_step": median(tokens),
            "threads": options.threads,
            "repeats": options.repeats,
            "seconds": counted,
            "peak_mb": {name: max(step["peak_mb"] for step in steps[name]) for name in names},
            "losses": {name: [round(step["loss"], 4) for step in steps[name]] for name in names},
            "ensue_over_trainer": ratio,
            "machine": machine("torch", "transformers"),
        }
        print(f"written to {write_results('fine_tuning', results)}")


if __name__ == "__main__":
    main(tyro.cli(Options))
