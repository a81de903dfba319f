"""The run folder: everything a run was and did, in files that any tool can read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ensue.core.files import write_file_aside


class RunFolder:
    """config.json, metrics.jsonl (one object a line), checkpoints/<step>/, final, plots/, samples/."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A new run at `path`. Raises ValueError where something is there already; nothing is ever overwritten."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ValueError(
                f"{path} already exists. To continue it, type: ensue train --resume {path}\n"
                "To start another run, give --run a new name."
            )
        for name in ("checkpoints", "plots", "samples"):
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

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

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
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """All rows of metrics.jsonl; a last line that a kill cut short is left out."""
        if not self.metrics_path.exists():
            return []
        rows = []
        for line in self.metrics_path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def forget_after(self, step: int) -> None:
        """Drop the rows of steps that will be run again, so that each step is told once."""
        kept = [row for row in self.rows() if row["step"] <= step]
        write_file_aside(self.metrics_path, "".join(json.dumps(row) + "\n" for row in kept))

    def checkpoint_path(self, step: int) -> Path:
        return self.path / "checkpoints" / f"{step:08d}"

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        found = (self.path / "checkpoints").iterdir()
        numbered = (path for path in found if path.is_dir() and path.name.isdecimal())
        return sorted(numbered, key=lambda path: int(path.name))

    def keep_newest(self, count: int) -> None:
        """Remove all but the newest `count` checkpoints, and what killed writers left behind."""
        for path in self.checkpoints()[:-count]:
            shutil.rmtree(path)
        for path in (self.path / "checkpoints").glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def set_final(self, checkpoint: Path) -> None:
        """Make `final` point at a checkpoint of this run."""
        link = self.path / "final"
        aside = self.path / ".final"
        aside.unlink(missing_ok=True)
        aside.symlink_to(os.path.relpath(checkpoint, self.path), target_is_directory=True)
        os.replace(aside, link)
