"""The run folder: everything a run was and did, in files that any tool can read."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ensue.core.files import clear_leftovers, flush_to_disk, link_aside, write_file_aside
from ensue.core.lock import LOCK, locked

LAYOUT = ("checkpoints", "plots", "samples")
MARKS_OF_A_START = {*LAYOUT, LOCK, "config.json", "data", "events.jsonl", ".demo"}
"""What may be in the folder of a run that ended before its first checkpoint."""


class RunFolder:
    """config.json, metrics.jsonl, receipts.jsonl and events.jsonl (one object a line), checkpoints/<step>/, the links
    final and best, plots/, samples/."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A new run at `path`, where nothing is, or only what a start that was killed before its first checkpoint left.

        Raises ValueError where something else is there: no run and no file of the user's is ever overwritten.
        """
        if path.is_dir() and _never_began(path):
            with locked(path):
                _empty(path)
        if path.exists() and (not path.is_dir() or any(entry.name != LOCK for entry in path.iterdir())):
            raise ValueError(
                f"{path} already exists. To continue it, type: ensue train --resume {path}\n"
                "To start another run, give --run a new name."
            )
        for name in LAYOUT:
            (path / name).mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at `path`. Raises FileNotFoundError or ValueError where there is none."""
        if not path.exists():
            raise FileNotFoundError(f"there is no run at {path}.")
        if not (path / "config.json").is_file() or not (path / "checkpoints").is_dir():
            raise ValueError(f"{path} is not a run folder: it has no config.json with checkpoints beside it.")
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process, rid of what killed ones left half written. Raises Locked where it is held."""
        with locked(self.path):
            for folder in (self.path, self.path / "checkpoints"):
                clear_leftovers(folder, all_are_dead=True)
            yield

    @contextmanager
    def removed_unless_begun(self) -> Iterator[None]:
        """Leave no folder where the work inside fails before the first checkpoint, so that the corrected command can
        use its name."""
        try:
            yield
        except BaseException:
            if not self.checkpoints():
                shutil.rmtree(self.path, ignore_errors=True)
            raise

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def receipts_path(self) -> Path:
        return self.path / "receipts.jsonl"

    def write_config(self, config: Mapping[str, Any]) -> None:
        write_file_aside(self.path / "config.json", json.dumps(config, indent=1) + "\n")

    def read_config(self) -> dict[str, Any]:
        """The resolved config. Raises ValueError naming the file if it is damaged."""
        path = self.path / "config.json"
        try:
            config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}.") from error
        return config

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one row to metrics.jsonl, at once."""
        append_row(self.metrics_path, row)

    def rows(self) -> list[dict[str, Any]]:
        """All rows of metrics.jsonl; a last line that a kill cut short is left out."""
        return read_rows(self.metrics_path)

    def forget_after(self, step: int) -> None:
        """Drop the rows of steps that will be run again, so that each step is told once."""
        forget_rows_after(self.metrics_path, step)

    def tell(self, event: str, step: int, facts: Mapping[str, Any]) -> None:
        """Append to events.jsonl what a process did with the run, and the wall clock's time; nothing relies on that."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        append_row(self.path / "events.jsonl", {"step": step, "event": event, "time": when, **facts})

    def events(self) -> list[dict[str, Any]]:
        """All rows of events.jsonl."""
        return read_rows(self.path / "events.jsonl")

    def checkpoint_path(self, step: int) -> Path:
        return self.path / "checkpoints" / f"{step:08d}"

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return _checkpoints(self.path)

    def keep(self, newest: int, *, also: Iterable[int] = ()) -> None:
        """Remove all but the `newest` checkpoints (0 keeps all), those of the steps in `also`, `final` and `best`."""
        if newest == 0:
            return
        linked = {(self.path / name).resolve() for name in ("final", "best")}
        spared = linked | {self.checkpoint_path(step) for step in also}
        for path in self.checkpoints()[:-newest]:
            if path not in spared and path.resolve() not in spared:
                shutil.rmtree(path)

    def drop_after(self, step: int) -> None:
        """Remove the checkpoints of later steps, which the run has taken back."""
        for path in self.checkpoints():
            if int(path.name) > step:
                shutil.rmtree(path)

    def set_aside(self, checkpoint: Path) -> Path:
        """Take a damaged checkpoint out of the row of checkpoints, for a person to look at; returns where it is now."""
        aside = checkpoint.with_name(f"{checkpoint.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(checkpoint, aside)
        return aside

    def point(self, name: Literal["final", "best"], checkpoint: Path) -> None:
        """Make `final` or `best` point at a checkpoint of this run."""
        link = self.path / name
        if link.resolve() != checkpoint.resolve():
            link_aside(link, checkpoint)
            flush_to_disk(self.path)


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append one object to a file of one object a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of such a file, none if it is not there; a line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def forget_rows_after(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop the rows of later steps from such a file; returns those that stay."""
    kept = [row for row in read_rows(path) if row["step"] <= step]
    write_file_aside(path, "".join(json.dumps(row) + "\n" for row in kept))
    return kept


def _checkpoints(run: Path) -> list[Path]:
    numbered = (path for path in (run / "checkpoints").iterdir() if path.is_dir() and path.name.isdecimal())
    return sorted(numbered, key=lambda path: int(path.name))


def _never_began(path: Path) -> bool:
    """Whether `path` holds a run that was killed before its first checkpoint, and nothing else."""
    if not (path / LOCK).is_file() or not (path / "checkpoints").is_dir() or _checkpoints(path):
        return False
    names = {entry.name for entry in path.iterdir()}
    return all(name in MARKS_OF_A_START or ".writing-" in name for name in names)


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()
