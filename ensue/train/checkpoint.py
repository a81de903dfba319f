"""Checkpoints: whole folders, written aside and renamed, that a run continues from exactly."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ensue.core.files import CHECKSUMS, folder_aside, verify_checksums, write_checksums
from ensue.train.engine import Engine
from ensue.train.schedule import Schedule

OPTIMIZER = "optimizer.safetensors"
STATE = "training.json"
FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far a checkpoint had come: finished steps, tokens trained on, and the schedule it followed."""

    step: int
    tokens: int
    schedule: Schedule


def save_checkpoint(engine: Engine, folder: Path, *, step: int, write_model: Callable[[Path], None]) -> None:
    """Write the model (through `write_model`), the optimizer, the schedule and the step into `folder`, or nothing.

    Random state is not stored: every draw is a function of the seed and the step.
    Raises OSError where the disk is full; what was at `folder` before stays.
    """
    with folder_aside(folder) as aside:
        write_model(aside)
        tensors = {name: tensor.contiguous() for name, tensor in engine.optimizer.tensors().items()}
        try:
            save_file(tensors, aside / OPTIMIZER)
        except SafetensorError as error:
            raise OSError(errno.EIO, f"writing failed ({error})", str(folder / OPTIMIZER)) from error
        state = {
            "format": FORMAT,
            "step": step,
            "tokens": engine.tokens,
            "trained": engine.optimizer.trained(),
            "schedule": vars(engine.schedule),
            "objective": engine.objective.state_dict(),
        }
        (aside / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        write_checksums(aside)


def load_checkpoint(engine: Engine, folder: Path) -> Progress:
    """Put the optimizer, objective and counters of `folder` into the engine (the model is loaded by its own reader).

    Raises ValueError naming the file that is missing, changed, or of another model.
    """
    state = _read_state(folder)
    _check_trained(state["trained"], engine.optimizer.trained(), folder / STATE)
    try:
        engine.optimizer.load_tensors(load_file(folder / OPTIMIZER))
    except (ValueError, SafetensorError) as error:
        raise ValueError(f"{folder / OPTIMIZER}: {error}") from error
    engine.objective.load_state_dict(state["objective"])
    engine.tokens = state["tokens"]
    engine.schedule = Schedule(**state["schedule"])
    return Progress(step=state["step"], tokens=state["tokens"], schedule=engine.schedule)


def _read_state(folder: Path) -> dict[str, Any]:
    """`training.json` of a checkpoint whose every file is as it was written."""
    if not (folder / STATE).is_file():
        raise ValueError(
            f"{folder / STATE} is missing: only a checkpoint of a run, with all its files, can be continued."
        )
    if not (folder / CHECKSUMS).is_file():
        raise ValueError(f"{folder / CHECKSUMS} is missing; use another checkpoint of the run.")
    verify_checksums(folder)
    state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    if state["format"] != FORMAT:
        raise ValueError(
            f"{folder / STATE} is of format {state['format']}; this version of Ensue reads format {FORMAT}."
        )
    return state


def _check_trained(saved: Mapping[str, str], ours: Mapping[str, str], path: Path) -> None:
    """Refuse the state of another model, or of another choice of optimizers, before anything is changed."""
    for name in sorted(saved.keys() | ours.keys()):
        there, here = saved.get(name, "not trained"), ours.get(name, "not trained")
        if there != here:
            raise ValueError(
                f"{path} is of another model or optimizer: {name} is {there} there and {here} here. "
                "Continue a run with the config it was started with."
            )
