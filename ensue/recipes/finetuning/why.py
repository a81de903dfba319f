"""Which rows of its table a step of a fine-tuning run read."""

from __future__ import annotations

import json

from ensue.core.config import from_dict
from ensue.core.run import RunFolder
from ensue.generate.load import load
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.start import work_for
from ensue.train.checkpoint import read_progress


def is_tuning(run: RunFolder) -> bool:
    """Whether the run is one of `ensue finetune`."""
    kind: object = run.read_config()["config"].get("kind")
    return kind == FineTuneConfig.__name__


def show_rows(run: RunFolder, step: int, *, as_json: bool) -> str:
    """The rows of step `step` (counted from 1), as file:row, the shortest first.

    Raises ValueError for a step that the run does not have, or whose examples are no longer what was read.
    """
    config = from_dict(FineTuneConfig, run.read_config()["config"])
    checkpoints = run.checkpoints()
    if not checkpoints:
        raise ValueError(f"{run.path} has no checkpoint yet; wait for its first one.")
    work = work_for(config, load(checkpoints[-1], device="cpu"), resumed=True)
    if read_progress(checkpoints[-1]).record["data"] != work.identity:
        raise ValueError(f"{config.data} no longer holds what {run.path} read; put it back as it was.")
    steps = config.epochs * work.stream.steps_per_epoch
    if not 1 <= step <= steps:
        raise ValueError(f"{run.path} has {steps:,} steps; give --step from 1 to that.")
    sources = [str(source) for source in work.stream.documents(step - 1)]
    trained = any(row["step"] == step and "loss" in row for row in run.rows())
    if as_json:
        return json.dumps({"step": step, "trained": trained, "rows": sources}, ensure_ascii=False)
    done = "read" if trained else "will read"
    return "\n".join([*sources, f"step {step:,} {done} {len(sources)} rows"])
