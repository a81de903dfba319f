"""What a run tells of itself while it runs: metrics, receipts, events, and TensorBoard where it is asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from ensue.core.receipts import Receipts
from ensue.core.run import RunFolder
from ensue.recipes.environment import source_digest
from ensue.recipes.parts import Parts, as_json, receipt, training_digest
from ensue.train.engine import Step


class Board(Protocol):
    """What draws curves: TensorBoard's writer."""

    def add_scalar(self, name: str, value: float, step: int) -> None: ...

    def flush(self) -> None: ...


class RunLog:
    """Rows of metrics.jsonl and receipts.jsonl, one of each a step.

    `elapsed` is the seconds that processes have spent on the run since it began, lost steps included; while nothing
    runs it stands still, since only the wall clock could tell, and nothing here relies on that. `goodput` is the share
    of it that went into steps whose result is in the weights.
    """

    def __init__(self, run: RunFolder, parts: Parts, *, elapsed: float = 0.0, start: int = 0) -> None:
        """`elapsed` is what earlier processes have spent, `start` the step they came to."""
        self.run = run
        self.receipts = Receipts(run.receipts_path)
        self._parts = parts
        self._began, self._elapsed_before = time.monotonic(), elapsed
        self._useful = _useful_seconds(run)
        self._config, self._code = training_digest(parts.config), source_digest()
        self._board = tensorboard(run.path / "tensorboard", start) if parts.config.tensorboard else None

    @property
    def elapsed(self) -> float:
        return self._elapsed_before + time.monotonic() - self._began

    def step(self, step: Step, norms: Mapping[str, Mapping[str, float]]) -> None:
        """Tell a step, with the norms of its layers where they were due."""
        self.receipts.add(receipt(self._parts, step, config=self._config, code=self._code))
        self._useful += step.seconds if step.skipped is None else 0.0
        elapsed = self.elapsed
        curves = {
            **step.means,
            "lr": step.lr,
            "grad_norm": step.grad_norm,
            "tokens": step.tokens,
            "seconds": step.seconds,
            "elapsed": round(elapsed, 3),
            "goodput": round(min(1.0, self._useful / elapsed), 4),
        }
        row: dict[str, Any] = {"step": step.index, **{name: as_json(value) for name, value in curves.items()}, **norms}
        self.run.log(row if step.skipped is None else {**row, "skipped": step.skipped})
        self._draw(step.index, curves)
        for kind, layers in norms.items():
            self._draw(step.index, {f"{kind}/{layer}": norm for layer, norm in layers.items()})

    def held_out(self, step: int, reading: Mapping[str, float]) -> None:
        """Tell a reading on held-out text."""
        self.run.log({"step": step, **reading})
        self._draw(step, reading)

    def schedule(self, step: int, schedule: Mapping[str, Any]) -> None:
        """Tell that the steps after this one follow another schedule."""
        self.receipts.add({"step": step, "schedule": dict(schedule)})

    def rollbacks_to(self, step: int) -> list[dict[str, Any]]:
        """The rows that tell of going back to this step."""
        return [row for row in self.run.rows() if row["step"] == step + 1 and "rolled_back_from" in row]

    def rolled_back(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Tell of going back to a step, as part of the first step that follows: once more, and all times before."""
        for row in rows:
            self.receipts.add(row)
            self.run.log(row)

    def forget_after(self, step: int) -> None:
        """Drop the rows of steps that will be run again."""
        self.run.forget_after(step)
        self.receipts.forget_after(step)
        self._useful = _useful_seconds(self.run)

    def flush(self) -> None:
        """Let TensorBoard see what has been drawn."""
        if self._board is not None:
            self._board.flush()

    def _draw(self, step: int, curves: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in curves.items():
                self._board.add_scalar(name, value, step)


def elapsed_so_far(run: RunFolder) -> float:
    """Seconds that earlier processes have spent on the run, as far as they could still tell."""
    return max((row["elapsed"] for row in [*run.rows(), *run.events()] if row.get("elapsed") is not None), default=0.0)


def tensorboard(folder: Path, start: int) -> Board:
    """What draws curves in `folder` for TensorBoard, those of earlier processes up to `start` left as they are.

    Raises ValueError saying what to install where it is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "--tensorboard true needs the tensorboard package; type: pip install 'ensue[tensorboard]'"
        ) from error
    return cast(Board, SummaryWriter(str(folder), purge_step=start + 1 if start else None))


def _useful_seconds(run: RunFolder) -> float:
    return sum(row.get("seconds") or 0.0 for row in run.rows() if "loss" in row and "skipped" not in row)
