"""A run's curves and where it stands, from its folder alone, while it trains and after."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ensue.core.lock import LOCK
from ensue.core.run import RunFolder
from ensue.studio.growing_rows import GrowingRows

State = Literal["running", "finished", "stopped", "gone"]
RECENT = 30
"""Steps whose speed is the speed now."""

QUIET = 3600.0
"""Seconds after which a process that tells nothing is taken for another one with the same number."""


@dataclass
class Curves:
    """Of each step: its number, loss, learning rate, tokens and seconds so far; of each reading on held-out text, its
    step, loss, and bits per byte or the metric of a task, by name."""

    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    held_out_steps: list[int] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    other: dict[str, float] = field(default_factory=dict)
    epoch: float = 0.0
    epoch_step: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in a row of metrics.jsonl; a number that is none (a loss that ran away is null) is NaN."""
        step = row.get("step")
        if not isinstance(step, int):
            return
        if "loss" in row:
            self.steps.append(step)
            self.loss.append(_number(row["loss"]))
            self.lr.append(_number(row.get("lr")))
            self.tokens.append(_number(row.get("tokens")))
            before = self.seconds[-1] if self.seconds else 0.0
            spent = row.get("elapsed")
            self.seconds.append(_number(spent) if spent is not None else before + _number(row.get("seconds", 0.0)))
        if "val_loss" in row:
            self.held_out_steps.append(step)
            self.held_out.append(_number(row["val_loss"]))
            self.other = {
                name.removeprefix("val_"): _number(value)
                for name, value in row.items()
                if name.startswith("val_") and name not in ("val_loss", "val_tokens") and not isinstance(value, dict)
            }
        if "epoch" in row and step:
            self.epoch, self.epoch_step = _number(row["epoch"]), step

    @property
    def speed(self) -> float | None:
        """Tokens a second over the last steps."""
        first = max(0, len(self.steps) - RECENT)
        if len(self.steps) - first < 2:
            return None
        seconds = self.seconds[-1] - self.seconds[first]
        return (self.tokens[-1] - self.tokens[first]) / seconds if seconds > 0 else None

    @property
    def step_seconds(self) -> float | None:
        """Seconds a step, over the last ones."""
        first = max(0, len(self.steps) - RECENT)
        steps = self.steps[-1] - self.steps[first] if self.steps else 0
        return (self.seconds[-1] - self.seconds[first]) / steps if steps else None


class WatchedRun:
    """A run that is looked at again and again; `refresh` reads what is new."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.curves = Curves()
        self.config: Mapping[str, Any] = {}
        self.state: State = "stopped"
        self._rows = GrowingRows(path / "metrics.jsonl")
        self._config_of: tuple[int, int] | None = None

    def refresh(self) -> bool:
        """Read on; whether anything is new. A run that has gone stays as it was last seen."""
        before = self.state, len(self.curves.steps), len(self.curves.held_out)
        self.state = state_of(self.path)
        if self.state == "gone":
            return before[0] != "gone"
        self._read_config()
        try:
            new = self._rows.read()
        except OSError:  # no step yet
            return before[0] != self.state
        if new.anew:
            self.curves = Curves()
        for row in new.rows:
            self.curves.add(row)
        return new.anew or before != (self.state, len(self.curves.steps), len(self.curves.held_out))

    @property
    def tunes(self) -> bool:
        """Whether it is a run of `ensue finetune`, which reads rows of a table."""
        return self.config.get("kind") == "FineTuneConfig"

    @property
    def step(self) -> int:
        """The last step that was told."""
        return self.curves.steps[-1] if self.curves.steps else 0

    @property
    def planned(self) -> int | None:
        """Steps in all, where that is known."""
        schedule = self.config.get("schedule")
        if isinstance(schedule, Mapping):
            return int(schedule["steps"])
        if self.curves.epoch and "epochs" in self.config:
            return round(int(self.config["epochs"]) * self.curves.epoch_step / self.curves.epoch)
        return None

    @property
    def seconds_left(self) -> float | None:
        """Until its end, as it is going now; None for a run that is not going, or where nobody can tell."""
        if self.state != "running" or self.curves.step_seconds is None:
            return None
        ends = []
        if self.planned is not None:
            ends.append((self.planned - self.step) * self.curves.step_seconds)
        minutes = self.config.get("minutes")
        if isinstance(minutes, int | float):
            ends.append(60 * minutes - self.curves.seconds[-1])
        return max(0.0, min(ends)) if ends else None

    def _read_config(self) -> None:
        try:
            state = (self.path / "config.json").stat()
            mark = (state.st_ino, state.st_mtime_ns)
            if mark != self._config_of:
                self.config = RunFolder(self.path).read_config()["config"]
                self._config_of = mark
        except (OSError, ValueError, KeyError):
            self.config = {}


def state_of(path: Path) -> State:
    """Whether somebody works on a run, from what it has written of itself."""
    if not (path / "config.json").is_file():
        return "gone"
    last = _last_event(path / "events.jsonl")
    if last == "finished":
        return "finished"
    return "running" if _alive(path) else "stopped"


def duration(seconds: float) -> str:
    """Seconds as 45 s, 3:05 or 2:03:05."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _last_event(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 65_536))
            lines = file.read().split(b"\n")
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            event = json.loads(line)["event"]
        except (ValueError, KeyError, TypeError):
            continue
        if event not in ("saved", "damaged"):
            return str(event)
    return ""


def _alive(path: Path) -> bool:
    """Whether the process that last held the run lives. The lock itself is left alone: to try it would be to take it
    from a process that begins just then."""
    try:
        record = json.loads((path / LOCK).read_text(encoding="utf-8"))
        pid, host = int(record["pid"]), record["host"]
        marks = [file for name in ("metrics.jsonl", LOCK) if (file := path / name).exists()]
        quiet = time.time() - max(file.stat().st_mtime for file in marks)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if host != socket.gethostname():
        return quiet < 120
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return quiet < QUIET


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
