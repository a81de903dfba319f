"""Continuing a run: from which checkpoint, and whether config and data are still those it was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ensue.core.config import from_dict, to_dict
from ensue.core.files import Damaged
from ensue.core.run import RunFolder
from ensue.recipes.data import Data
from ensue.recipes.display import Display
from ensue.recipes.parts import data_identity
from ensue.recipes.run_config import OF_THE_SURROUNDINGS, RunConfig, with_changes
from ensue.train.checkpoint import Progress, check_whole
from ensue.train.schedule import Schedule

ANY_TIME = OF_THE_SURROUNDINGS - {"minutes"}
"""Fields that may be changed without a word: no weight depends on them, nor how long the run is."""

DATA_FIELDS = {"data/train": "the training text", "data/held_out": "the held-out text"}
"""What differs where the data does, beside config fields: digests of token files, which are told in events.jsonl."""


@dataclass(frozen=True)
class Difference:
    """A field of the config, by its dotted path, with two values."""

    field: str
    before: Any
    now: Any

    @property
    def change(self) -> str:
        """The same as something that is done."""
        return "other text is read" if self.field in DATA_FIELDS else f"{self.field}: {self.before} -> {self.now}"

    def __str__(self) -> str:
        if self.field in DATA_FIELDS:
            return f"{DATA_FIELDS[self.field]} is not what the run was trained with"
        return f"{self.field} is {json.dumps(self.before)} in the run and {json.dumps(self.now)} here"


def newest_whole(run: RunFolder, display: Display) -> Path:
    """The newest checkpoint of which every file is what was written; damaged newer ones are set aside, with a word.

    Raises ValueError where there is none, and leaves everything as it is.
    """
    checkpoints = run.checkpoints()
    if not checkpoints:
        raise ValueError(f"{run.path} has no checkpoint to continue from; start it again under a new name with --run.")
    damaged: list[tuple[Path, str]] = []
    for folder in reversed(checkpoints):
        try:
            check_whole(folder)
        except Damaged as error:
            damaged.append((folder, str(error)))
            continue
        for bad, reason in damaged:
            aside = run.set_aside(bad)
            run.tell("damaged", int(bad.name), {"reason": reason})
            display.say(f"{reason}\nIt is set aside as {aside}, and the checkpoint before it is used.")
        return folder
    reasons = "\n".join(reason for _, reason in damaged)
    raise ValueError(f"no checkpoint of {run.path} is whole:\n{reasons}\nStart again under a new name with --run.")


def config_to_continue(
    run: RunFolder,
    progress: Progress,
    *,
    changes: Mapping[str, str],
    texts: Sequence[Path],
    allowed: bool,
    display: Display,
) -> tuple[RunConfig, Data]:
    """The run's config with `changes`, and its data, or the folder of `texts` instead; what is new is recorded.

    Raises ValueError naming the first thing that is not what the checkpoint was trained with, where a weight depends on
    it and it is not `allowed`, or where no run can go on with it.
    """
    if len(texts) > 1:
        raise ValueError("give one folder of prepared data with --resume, or none; see: ensue prepare --help")
    record = run.read_config()
    kept = _config_of(run, record["config"])
    place = str(texts[0].resolve()) if texts else kept.data
    wanted = replace(with_changes(kept, changes), data=place)
    data = Data(run.path.resolve() / place)
    earlier = [entry for entry in record.get("earlier", []) if entry["until"] <= progress.step]
    gone_on = bool(earlier) and earlier[-1]["until"] == progress.step  # and killed before the next checkpoint
    accepted = kept if gone_on else _trained_with(progress, kept)
    in_data = _data_differences(run, progress, data, gone_on=gone_on)
    found = [*in_data, *differences(accepted, wanted)]
    for difference in found:
        _check_possible(difference, run.path)
    serious = [difference for difference in found if difference.field.split(".")[0] not in ANY_TIME]
    if serious and not allowed:
        before = "leave it out" if changes or texts else "put back what was there"
        now = f"To go on like this from step {progress.step:,}, add --changed; to go on as before, {before}."
        raise ValueError(f"{serious[0]}. {now}")
    if wanted.schedule.steps < progress.step and wanted.schedule.steps != accepted.schedule.steps:
        raise ValueError(f"the run is at step {progress.step:,} already; give --steps a larger number.")
    for difference in found:
        display.say(f"from step {progress.step:,} on, {difference.change}")
    if found:
        until_now = replace(accepted, data=kept.data if in_data else place)
        earlier.append({"until": progress.step, "config": to_dict(until_now)})
        told = {difference.field: [difference.before, difference.now] for difference in found}
        run.tell("changed", progress.step, told)
    if found or wanted != kept:
        run.write_config({**record, "config": to_dict(wanted), "earlier": earlier})
    return wanted, data


def schedule_to_continue(progress: Progress, config: RunConfig, display: Display) -> Schedule:
    """The checkpoint's schedule, which may have been fitted to the time, with what has been changed since."""
    before, now = _trained_with(progress, config).schedule, config.schedule
    changed = {name: value for name, value in vars(now).items() if value != getattr(before, name)}
    if not changed:
        return progress.schedule
    if set(changed) == {"steps"}:
        schedule = progress.schedule.refitted(progress.step, now.steps)
    else:
        schedule = Schedule(**{**vars(progress.schedule), **changed})
    old, new = (each.factor(progress.step) for each in (progress.schedule, schedule))
    display.say(f"the learning rate goes from {old:.3g} to {new:.3g} times its full value at step {progress.step:,}")
    return schedule


def config_at(run: RunFolder, step: int) -> RunConfig:
    """The config that step `step` (counted from 1) was trained with."""
    record = run.read_config()
    for entry in record.get("earlier", []):
        if step <= entry["until"]:
            return from_dict(RunConfig, entry["config"])
    return _config_of(run, record["config"])


def _config_of(run: RunFolder, record: Mapping[str, Any]) -> RunConfig:
    """Raises ValueError, saying what to type, for a run of `ensue finetune`."""
    kind = record.get("kind", RunConfig.__name__)
    if kind != RunConfig.__name__:
        raise ValueError(
            f"{run.path} was made by ensue finetune, not by ensue train; it is continued with:\n"
            f"  ensue finetune --resume {run.path}"
        )
    return from_dict(RunConfig, record)


def differences(before: RunConfig, now: RunConfig) -> list[Difference]:
    """Every field in which two configs differ, but for where their data lies and the reasons told."""
    one, other = (_flat(to_dict(config)) for config in (before, now))
    names = [name for name in {**one, **other} if name not in ("data", "reasons")]
    found = [Difference(name, one.get(name), other.get(name)) for name in names]
    return [difference for difference in found if difference.before != difference.now]


def _data_differences(run: RunFolder, progress: Progress, data: Data, *, gone_on: bool) -> list[Difference]:
    """What of the data is not what the checkpoint was trained on, or what the run has `gone_on` with from there.

    Raises ValueError for another tokenizer.
    """
    now = data_identity(data)
    before = dict(progress.record.get("data", now))
    changes = [event for event in run.events() if event["event"] == "changed" and event["step"] == progress.step]
    for event in changes if gone_on else ():
        before |= {name: event[f"data/{name}"][1] for name in before if f"data/{name}" in event}
    if before["tokenizer"] != now["tokenizer"]:
        raise ValueError(
            f"the tokenizer differs: {run.path} was trained with another tokenizer than {data.path / 'tokenizer'}, and "
            "its weights mean nothing with this one. Put the run's data back, or prepare the new text with the run's "
            f"own: ensue prepare TEXT --out DATA --tokenizer {run.checkpoint_path(progress.step)}"
        )
    return [Difference(f"data/{name}", before[name], now[name]) for name in now if before[name] != now[name]]


def _trained_with(progress: Progress, otherwise: RunConfig) -> RunConfig:
    saved = progress.record.get("config")
    return otherwise if saved is None else from_dict(RunConfig, saved)


def _check_possible(difference: Difference, run: Path) -> None:
    """Raise ValueError for what no run can change on its way."""
    fixed = difference.field.startswith("model.") and "dropout" not in difference.field
    if fixed or difference.field in ("optimizer.kind", "warm_start", "recipe"):
        raise ValueError(
            f"{difference}, and {run} cannot go on with another one; leave it out, or start a new run with --run."
        )


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted paths to values; `kind` names a class, except where it is a field (the optimizer's)."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif name != "kind" or prefix == "optimizer.":
            flat[f"{prefix}{name}"] = value
    return flat
