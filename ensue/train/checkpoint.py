"""Checkpoints: whole folders, written aside and renamed, that a run continues from exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ensue.core.files import CHECKSUMS, Damaged, flush_to_disk, folder_aside, verify_checksums, write_checksums
from ensue.core.tensor_file import FileDigest, write_tensors
from ensue.train.engine import Engine
from ensue.train.schedule import Schedule

OPTIMIZER = "optimizer.safetensors"
STATE = "training.json"
FORMAT = 1

WriteFile = Callable[[Path], FileDigest]


@dataclass(frozen=True)
class Contents:
    """What a checkpoint folder is to hold: small files as they are, and tensors by their file's name and their own.

    The tensors are the live ones, in the layout they are stored in; whoever writes later takes a copy first.
    """

    files: Mapping[str, bytes]
    tensors: Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Progress:
    """How far a checkpoint had come: finished steps, tokens trained on, the schedule it followed, and what the run
    itself had put into it."""

    step: int
    tokens: int
    schedule: Schedule
    record: Mapping[str, Any] = field(default_factory=dict)


def gather(
    engine: Engine,
    *,
    step: int,
    model_files: Mapping[str, bytes],
    model_tensors: Mapping[str, Mapping[str, Tensor]],
    record: Mapping[str, Any],
    optimizer_tensors: Mapping[str, Tensor] | None = None,
) -> Contents:
    """The state after `step` steps: the model as its own files, the optimizer, the schedule, and the run's `record`.

    `optimizer_tensors` are whole, where the engine's own optimizer has but pieces.

    Random state is not stored: every draw is a function of the seed and the step.
    """
    state = {
        "format": FORMAT,
        "step": step,
        "tokens": engine.tokens,
        "trained": engine.optimizer.trained(),
        "schedule": vars(engine.schedule),
        "objective": engine.objective.state_dict(),
        "record": record,
    }
    if optimizer_tensors is None:
        optimizer_tensors = engine.optimizer.tensors()
    return Contents(
        files={**model_files, STATE: (json.dumps(state, indent=1) + "\n").encode()},
        tensors={**model_tensors, OPTIMIZER: optimizer_tensors},
    )


def write_checkpoint(contents: Contents, folder: Path, *, flush: Iterable[Path] = ()) -> dict[str, FileDigest]:
    """Write the checkpoint as it is now, or nothing. Returns the digest of each tensor file; `flush` as `write_files`.

    Raises OSError where the disk is full; what was at `folder` before stays.
    """

    def writer(tensors: Mapping[str, Tensor]) -> WriteFile:
        return lambda path: write_tensors(path, tensors)

    writers = {name: writer(tensors) for name, tensors in contents.tensors.items()}
    return write_files(contents.files, writers, folder, flush=flush)


def write_files(
    files: Mapping[str, bytes], writers: Mapping[str, WriteFile], folder: Path, *, flush: Iterable[Path]
) -> dict[str, FileDigest]:
    """Write a folder of small files, of what `writers` write and of their checksums, whole or not at all.

    `flush` are files outside it that must be on the disk when it is. Each file is hashed while it is written, and
    nothing is read again.
    """
    with folder_aside(folder) as aside:
        for name, content in files.items():
            (aside / name).write_bytes(content)
        digests = {name: write(aside / name) for name, write in writers.items()}
        write_checksums(aside, {name: digest.sha256 for name, digest in digests.items()})
        for path in flush:
            if path.exists():
                flush_to_disk(path)
    return digests


def check_whole(folder: Path) -> None:
    """Raise Damaged, naming the file, for a checkpoint of which anything is missing or not what was written."""
    for name in (STATE, CHECKSUMS):
        if not (folder / name).is_file():
            raise Damaged(
                f"{folder / name} is missing: only a checkpoint of a run, with all its files, can be continued."
            )
    verify_checksums(folder)


def read_progress(folder: Path) -> Progress:
    """How far this whole checkpoint had come. Raises ValueError where it is of another format."""
    return _progress(_read_state(folder))


def load_checkpoint(
    engine: Engine,
    folder: Path,
    *,
    checked: bool = False,
    turn: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor,
) -> Progress:
    """Put the optimizer, objective and counters of `folder` into the engine (the model is loaded by its own reader).

    `checked` says that the caller has just seen that it is whole; `turn` changes each tensor of the optimizer on its
    way, by its name. Raises Damaged naming the file that is missing or changed, and ValueError naming one of another
    model or format.
    """
    if not checked:
        check_whole(folder)
    state = _read_state(folder)
    _check_trained(state["trained"], engine.optimizer.trained(), folder / STATE)
    for part in engine.optimizer.parts:
        part.state.clear()
    try:
        with safe_open(folder / OPTIMIZER, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                engine.optimizer.load_tensors({name: turn(name, file.get_tensor(name))})
    except (ValueError, SafetensorError) as error:
        raise ValueError(f"{folder / OPTIMIZER}: {error}") from error
    engine.objective.load_state_dict(state["objective"])
    progress = _progress(state)
    engine.tokens, engine.schedule = progress.tokens, progress.schedule
    return progress


def _read_state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    if state["format"] != FORMAT:
        raise ValueError(
            f"{folder / STATE} is of format {state['format']}; this version of Ensue reads format {FORMAT}."
        )
    return state


def _progress(state: Mapping[str, Any]) -> Progress:
    schedule = Schedule(**state["schedule"])
    return Progress(state["step"], state["tokens"], schedule, state.get("record", {}))


def _check_trained(saved: Mapping[str, str], ours: Mapping[str, str], path: Path) -> None:
    """Refuse the state of another model, or of another choice of optimizers, before anything is changed."""
    for name in sorted(saved.keys() | ours.keys()):
        there, here = saved.get(name, "not trained"), ours.get(name, "not trained")
        if there != here:
            raise ValueError(
                f"{path} is of another model or optimizer: {name} is {there} there and {here} here. "
                "Continue a run with the config it was started with."
            )
