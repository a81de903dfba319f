"""Run by torchrun: every case of a list trained by all its processes together, each as `ensue train` wires it.

torchrun --nproc-per-node 2 parallel_work.py CASES.json OUT
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ensue.core.config import from_dict
from ensue.model.weights import load_model
from ensue.recipes.crew import Judge
from ensue.recipes.data import Data
from ensue.recipes.display import Display
from ensue.recipes.following import follow
from ensue.recipes.parts import build_parts, checkpoint_contents, fresh_model
from ensue.recipes.run_config import RunConfig
from ensue.tokens.stream import PackedStream
from ensue.train.checkpoint import write_checkpoint
from ensue.train.parallel import tell, together
from ensue.train.spikes import Spike


def lead(case: dict[str, Any], out: Path) -> dict[str, Any]:
    """Train the case's steps, from its seed or from its checkpoint, and save where they end."""
    config, quiet = from_dict(RunConfig, case["config"]), Display(quiet=True)
    data = Data(Path(config.data))
    start, checkpoint = case["start"], case["checkpoint"]
    source = load_model(Path(checkpoint)) if checkpoint else fresh_model(config, data, quiet)
    parts = build_parts(config, data, source, quiet)
    if checkpoint:
        parts.crew.load(Path(checkpoint), weights=False)
    if case["rewind"]:  # from a spike in the last step, to which the guard objects
        parts.crew.judge_by(object_at(config.schedule.steps - 1))
        with suppress(Spike):
            for index in range(start, config.schedule.steps):
                parts.engine.step(index)
        parts.crew.load(Path(checkpoint), weights=True)
        parts.crew.judge_by(object_at(-1))
    steps = [parts.engine.step(index) for index in range(start, config.schedule.steps)]
    read = parts.crew.held_out(limit_tokens=None, stride=8)
    write_checkpoint(checkpoint_contents(parts, config.schedule.steps, tokenizer={}, record={}), out / case["name"])
    pieces = sum(parameter.numel() for parameter in parts.parameters.values())
    return {
        "loss": [step.loss for step in steps],
        "grad_norm": [step.grad_norm for step in steps],
        "tokens": [step.tokens for step in steps],
        "held_out": read.nats,
        "parameters_here": pieces,
    }


def object_at(last: int) -> Judge:
    def judge(index: int, _: float, __: float) -> str | None:
        if index == last:
            raise Spike(index, "asked for")
        return None

    return judge


def rows_of_all(case: dict[str, Any]) -> list[list[Any]]:
    """Every step's rows as all processes read them, in the order of the processes."""
    config = from_dict(RunConfig, case["config"])
    mine = PackedStream(
        Data(Path(config.data)).train,
        context=config.model.context,
        batch=config.batch,
        micro_batch=config.micro_batch,
        seed=config.seed,
        rank=dist.get_rank(),
        processes=dist.get_world_size(),
    )
    rows = [
        [
            pair
            for batch in mine.batches(step)
            for pair in zip(batch.tokens.tolist(), batch.weights.tolist(), strict=True)
        ]
        for step in range(config.schedule.steps)
    ]
    shares: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shares, rows)
    return [[row for share in shares for row in share[step]] for step in range(config.schedule.steps)]


def main() -> None:
    cases, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    torch.set_num_threads(1)
    with together(on_gpu=False):
        read = rows_of_all(cases[0])
        results: dict[str, Any] = {"rows": read}
        for case in cases:
            if dist.get_rank() == 0:
                results[case["name"]] = lead(case, out)
                tell({"do": "end"})
            else:
                follow()
        if dist.get_rank() == 0:
            (out / "results.json").write_text(json.dumps(results))
        dist.barrier()
    sys.stdout.flush()
    os._exit(0)  # as the command does: gloo's threads do not survive an interpreter that closes down


if __name__ == "__main__":
    main()
