"""What `ensue verify` does: a window of a run is trained again, and every receipt compared on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ensue.core.config import from_dict
from ensue.core.files import Damaged
from ensue.core.receipts import CHAIN, first_broken
from ensue.core.run import RunFolder, read_rows
from ensue.core.tensor_file import digest_of, digest_of_tensors, names_in_order, tensor_names
from ensue.model.weights import load_model
from ensue.model.weights.huggingface import stored_tensors
from ensue.recipes.circumstances import check_replayable, threads_at
from ensue.recipes.crew import Crew
from ensue.recipes.data import Data
from ensue.recipes.display import Display
from ensue.recipes.environment import source_digest
from ensue.recipes.parts import (
    WEIGHTS,
    Parts,
    build_parts,
    changed_documents,
    fresh_model,
    receipt,
    take_up,
    training_digest,
)
from ensue.recipes.resuming import config_at, differences
from ensue.recipes.run_config import RunConfig
from ensue.train.checkpoint import OPTIMIZER, Progress, check_whole, read_progress
from ensue.train.engine import Diverged
from ensue.train.fingerprint import first_difference
from ensue.train.schedule import Schedule
from ensue.train.spikes import SpikeGuard

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """The first thing that is not as it was: after which step it shows, in which tensor if in one, and what it is."""

    step: int
    what: str
    explanation: str
    tensor: str | None = None


@dataclass
class Verdict:
    """What was replayed, what was compared, and the first difference; None says bit-identical."""

    start: int
    stop: int
    replayed: int = 0
    tensors: int = 0
    difference: Difference | None = None
    notes: list[str] = field(default_factory=list)


class _Found(Exception):
    """Carries the first difference out of the replay."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(difference.explanation)
        self.difference = difference


def verify(run: RunFolder, first: int, last: int, *, display: Display) -> Verdict:
    """Replay the steps after `first` up to `last`, from the newest checkpoint at or before `first`.

    Raises ValueError where the run has not come so far, where no checkpoint is left to start from, or where other
    processes trained these steps, saying what can be verified and how.
    """
    rows = read_rows(run.receipts_path)
    done = max((row["step"] for row in rows if "samples" in row), default=0)
    if not 0 <= first < last:
        raise ValueError(f"--steps {first}:{last} holds no step; give what is replayed as FROM:TO, such as 0:50.")
    if last > done:
        raise ValueError(f"{run.path} has receipts for {done:,} steps; give --steps up to {done}.")
    start = _where_to_start(run, first, last)
    check_replayable(run, start, last, asked=f"{first}:{last}")
    verdict = Verdict(start, last)
    try:
        broken = first_broken([row for row in rows if row["step"] <= last])
        if broken is not None:
            text = f"a row of {run.receipts_path} about step {broken:,} was changed, taken out or put in"
            raise _Found(Difference(broken, "receipts", text))
        _replay(run, rows, verdict, display)
    except _Found as found:
        verdict.difference = found.difference
    return verdict


def _where_to_start(run: RunFolder, first: int, last: int) -> int:
    kept = [int(path.name) for path in run.checkpoints()]
    before = [step for step in kept if step <= first]
    if before:
        return before[-1]
    if first == 0:
        return 0
    later = [f"ensue verify {run.path} --steps {step}:{last}" for step in kept if step < last]
    raise ValueError(
        f"no checkpoint at or before step {first:,} is left; those of {run.path} are of the steps "
        f"{', '.join(f'{step:,}' for step in kept) or 'none'}.\nWhat can be replayed:\n  "
        + "\n  ".join([*later, f"ensue verify {run.path} --steps 0:{last}    (all of it, from the seed)"])
        + "\nA run keeps all of its checkpoints with --keep_checkpoints 0."
    )


def _replay(run: RunFolder, rows: Rows, verdict: Verdict, display: Display) -> None:
    checkpoint = run.checkpoint_path(verdict.start)
    marks = {row["step"]: row["saved"] for row in rows if "saved" in row}
    progress = _opened(checkpoint, marks.get(verdict.start)) if checkpoint.is_dir() else None
    config = _config(run, rows, verdict.start + 1, progress)
    data = Data(run.path.resolve() / config.data)
    model = load_model(checkpoint) if progress is not None else fresh_model(config, data, display)
    parts = build_parts(config, data, model, display)
    guard = SpikeGuard(config.spikes)
    if progress is not None:
        take_up(parts, guard, checkpoint, weights=False)
    else:
        _compare_state(run, parts, verdict, marks)
    if config.spikes.action == "skip":
        parts.crew.judge_by(lambda index, loss, grad_norm: guard.judge(loss, grad_norm))
    with _threads_of(run, parts.crew) as use_threads_of_step:
        for row in _rows_behind(rows, progress, run):
            if row["step"] > verdict.stop:
                break
            if "schedule" in row:
                parts.engine.schedule = Schedule(**row["schedule"])
            elif "moved" in row:
                parts.stream.moves.append((row["step"] - 1, row["moved"]))
            else:
                use_threads_of_step(row["step"])
                _compare_step(run, parts, row, verdict)
                _compare_state(run, parts, verdict, marks)


def _opened(checkpoint: Path, marks: Mapping[str, Sequence[str]] | None) -> Progress:
    """A checkpoint whose tensors are those that were saved, and whose every file is what was written."""
    for name in (WEIGHTS, OPTIMIZER) if marks is not None else ():
        try:
            found, names = digest_of(checkpoint / name).marks, tensor_names(checkpoint / name)
        except (OSError, ValueError):
            continue  # so broken that it has no tensors to name
        for tensor, one, other in zip(names, found, (marks or {})[name], strict=False):
            if one != other:
                text = f"{checkpoint / name} does not hold what was saved after that step"
                raise _Found(Difference(int(checkpoint.name), name, text, tensor))
    try:
        check_whole(checkpoint)
    except Damaged as error:
        raise _Found(Difference(int(checkpoint.name), "checkpoint", str(error))) from error
    return read_progress(checkpoint)


def _config(run: RunFolder, rows: Rows, step: int, progress: Progress | None) -> RunConfig:
    """The config that `step` was trained with, if config.json still says what it was."""
    config = config_at(run, step)
    told = next(row["config"] for row in rows if row["step"] == step and "config" in row)
    if training_digest(config) == told:
        return config
    saved = [progress] if progress is not None else [read_progress(path) for path in run.checkpoints()]
    known = [from_dict(RunConfig, each.record["config"]) for each in saved if "config" in each.record]
    fields = [str(each) for one in known if training_digest(one) == told for each in differences(one, config)]
    text = f"{run.path / 'config.json'} is not what the step was trained with"
    raise _Found(Difference(step, "config", f"{text}: {fields[0]}" if fields else text))


def _rows_behind(rows: Rows, progress: Progress | None, run: RunFolder) -> Iterator[Mapping[str, Any]]:
    """What was told after the checkpoint was taken, in order."""
    chained = [row for row in rows if CHAIN in row]
    if progress is None or not progress.step:
        return iter(chained)
    places = [place for place, row in enumerate(chained) if row[CHAIN] == progress.record.get("receipts")]
    if not places:
        text = f"{run.receipts_path} has no row that checkpoint {progress.step:,} was taken behind"
        raise _Found(Difference(progress.step, "receipts", text))
    return iter(chained[places[0] + 1 :])


def _compare_step(run: RunFolder, parts: Parts, row: Mapping[str, Any], verdict: Verdict) -> None:
    """Train one step and compare all that its receipt tells, causes before effects."""
    step = row["step"]
    if row["config"] != training_digest(parts.config):
        raise _Found(Difference(step, "config", f"{run.path / 'config.json'} does not tell of the config of this step"))
    if row["code"] != source_digest() and not verdict.notes:
        verdict.notes.append(
            f"(from step {step:,} at least, the run was trained by other source code: {row['code']}, and this is "
            f"{source_digest()})"
        )
    stream = parts.stream
    for name, now in (("samples", stream.samples_digest(step - 1)), ("tokens", stream.tokens_digest(step - 1))):
        if row[name] != now:  # before it trains on what may be no token at all
            raise _Found(_difference(parts, step, name, row[name], now))
    try:
        done = parts.engine.step(step - 1)
    except Diverged as error:
        raise _Found(Difference(step, "loss", f"{error.what} is not a finite number now")) from error
    told = receipt(parts, done, config=row["config"], code=row["code"])
    for name in [name for name in {**told, **row} if name != CHAIN]:
        if row.get(name) != told.get(name):
            raise _Found(_difference(parts, step, name, row.get(name), told.get(name)))
    verdict.replayed += 1


def _difference(parts: Parts, step: int, name: str, then: Any, now: Any) -> Difference:
    if name == "samples":
        return Difference(step, name, "other samples are read: the length of the data, or the code, is another")
    if name == "tokens":
        changed = changed_documents(parts, step - 1)
        listed = "".join(f"\n  {span.id}  {span.source}" for span in changed)
        text = f"{parts.data.path} does not hold the tokens that were trained on"
        return Difference(step, name, f"{text}; no longer what they were:{listed}" if changed else text)
    if name == "weights":
        tensor = first_difference(list(parts.parameters), then, now)
        return Difference(step, name, "loss and gradient norm are the same, the weights behind them are not", tensor)
    return Difference(step, name, f"{name} was {then} and is {now}")


def _compare_state(
    run: RunFolder, parts: Parts, verdict: Verdict, marks: Mapping[int, Mapping[str, Sequence[str]]]
) -> None:
    """Compare every tensor, bit for bit, where a checkpoint was saved after the step."""
    step = verdict.start + verdict.replayed
    if step not in marks:
        return
    tensors = {WEIGHTS: stored_tensors(parts.crew.whole_model()), OPTIMIZER: parts.crew.optimizer_tensors()}
    for file, held in tensors.items():
        for name, one, other in zip(
            names_in_order(held), digest_of_tensors(held).marks, marks[step][file], strict=False
        ):
            if one != other:
                text = f"it is not what was saved in {run.checkpoint_path(step) / file} after that step"
                raise _Found(Difference(step, file, text, name))
        verdict.tensors += len(held)


@contextmanager
def _threads_of(run: RunFolder, crew: Crew) -> Iterator[Callable[[int], None]]:
    """Yields what makes all processes use as many threads as those that trained a step: sums depend on them."""
    before = torch.get_num_threads()

    def use(step: int) -> None:
        threads = threads_at(run, step)
        if threads not in (None, torch.get_num_threads()):
            crew.use_threads(threads)

    try:
        yield use
    finally:
        torch.set_num_threads(before)
