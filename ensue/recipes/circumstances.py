"""How steps were trained: by how many threads and processes, as which config says. The last bits depend on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ensue.core.run import RunFolder
from ensue.recipes.following import how_to_start
from ensue.recipes.parts import training_digest
from ensue.recipes.resuming import config_at
from ensue.train.parallel import started_processes


def threads_at(run: RunFolder, step: int) -> int | None:
    """Threads of each process that trained step `step` (counted from 1); None where the run does not tell."""
    return _told_at(run, step, "threads")


def processes_at(run: RunFolder, step: int) -> int | None:
    """How many processes trained step `step` together; None where the run does not tell."""
    return _told_at(run, step, "processes")


def check_replayable(run: RunFolder, start: int, stop: int, *, asked: str) -> None:
    """Raise ValueError where this many processes cannot replay the steps behind `start` up to `stop` to the bit.

    They were trained by another number of processes, or something changed on the way. `asked` is the window as it was
    typed.
    """
    for step, what in _changes(run):
        if start < step < stop:
            raise ValueError(f"{what} changed after step {step:,}; {_apart(run, start, step, stop)}")
    then, now = processes_at(run, start + 1), started_processes()
    if then not in (None, now):
        raise ValueError(
            f"{run.path} trained these steps on {_processes(then or 1)}, and {_processes(now)} would round their sums "
            f"otherwise; type:\n  {how_to_start(then or 1)} verify {run.path} --steps {asked}"
        )


def _told_at(run: RunFolder, step: int, fact: str) -> int | None:
    told = [event["hardware"].get(fact) for event in _beginnings(run) if event["step"] < step]
    return told[-1] if told else None


def _beginnings(run: RunFolder) -> list[dict[str, Any]]:
    return [event for event in run.events() if event["event"] in ("began", "continued") and "hardware" in event]


def _changes(run: RunFolder) -> Iterator[tuple[int, str]]:
    """The steps after which something changed that a replay cannot follow on its way, and what."""
    for step in sorted({event["step"] for event in _beginnings(run)} - {0}):
        if processes_at(run, step) != processes_at(run, step + 1):
            yield step, "the number of processes"
        before, behind = config_at(run, step), config_at(run, step + 1)
        if before.parallel != behind.parallel:
            yield step, "the mesh of the processes"
        if before.data != behind.data:
            yield step, "the data"
        if training_digest(before) != training_digest(behind):
            yield step, "the config"


def _apart(run: RunFolder, start: int, step: int, stop: int) -> str:
    """How to verify the steps before and behind a change after `step`."""
    before = f"verify what is before it with --steps {start}:{step}"
    if run.checkpoint_path(step).is_dir():
        return f"{before} and what is behind it with --steps {step}:{stop}"
    later = [int(path.name) for path in run.checkpoints() if step < int(path.name) < stop]
    gone = f"checkpoint {step:,}, from which the run went on, is not kept"
    return f"{before}; {gone}" + (f", so what is behind it begins at --steps {later[0]}:{stop}" if later else "")


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"
