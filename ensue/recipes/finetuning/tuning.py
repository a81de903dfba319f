"""One fine-tuning run through the one engine, whatever its task: its hooks, and what it does about stops and errors."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ensue.core.device import choose_device, choose_precision
from ensue.core.run import RunFolder
from ensue.generate.lm import LM
from ensue.recipes.display import Display, TrainingBar
from ensue.recipes.failure import RunFailed, diverged
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.keeping import TunedKeeper, without_prefix
from ensue.recipes.finetuning.picture import draw_tuning
from ensue.recipes.finetuning.work import Work
from ensue.recipes.parts import as_json
from ensue.train.checkpoint import load_checkpoint
from ensue.train.engine import Diverged, Engine, Step
from ensue.train.loop import Hook, Stop, run_steps, stop_on_signals
from ensue.train.optimizer import Optimizer
from ensue.train.schedule import Schedule

MEMORY = 0.9
"""Weight of the past in the running averages that the display shows."""


@dataclass(frozen=True)
class TuneResult:
    """What a finished run leaves: the model as it ended, where its checkpoints are, and what validation says of each.

    `best` is `final` where nothing was validated."""

    lm: LM
    final: Path
    best: Path
    readings: Mapping[str, float]
    best_readings: Mapping[str, float]
    test_readings: Mapping[str, float] = field(default_factory=dict)
    """What the best model makes of the test examples, where there are any."""


class Tuning:
    """A run at work."""

    def __init__(self, run: RunFolder, config: FineTuneConfig, work: Work, *, display: Display) -> None:
        self.run, self.config, self.work, self.display = run, config, work, display
        device = choose_device(config.device)
        steps = config.epochs * work.stream.steps_per_epoch
        self.engine = Engine(
            model=work.model,
            objective=work.objective,
            stream=work.stream,
            optimizer=Optimizer(work.model, config.optimizer),
            schedule=Schedule("linear", warmup=math.ceil(config.warmup * steps), steps=steps),
            clip=config.optimizer.clip,
            device=device,
            precision=choose_precision(config.precision, device),
            seed=config.seed,
        )
        self.keeper = TunedKeeper(run, config, work, self.engine)
        self.bar: TrainingBar | None = None
        self.began, self.began_at = time.monotonic(), 0
        self.tokens = 0
        self.mean_loss = self.mean_speed = 0.0

    def go_back_to(self, checkpoint: Path) -> int:
        """Make optimizer and counters what they were at a whole checkpoint; returns its step. Raises ValueError where
        the examples are no longer those it was trained on."""
        progress = load_checkpoint(self.engine, checkpoint, checked=True)
        for name, digest in self.work.identity.items():
            if progress.record["data"].get(name) != digest:
                raise ValueError(
                    f"the {name} data is not what {self.run.path} was trained with; put it back as it was, or start a "
                    "new run with --run."
                )
        self.run.forget_after(progress.step)
        self.keeper.starts_at(progress.step)
        self.tokens = max((row["tokens"] for row in self.run.rows() if "tokens" in row), default=0)
        return progress.step

    def train(self, *, start: int) -> TuneResult:
        """Run the steps from `start` on. Raises RunFailed where the run ends early."""
        self.began, self.began_at = time.monotonic(), start
        epoch = self.work.stream.steps_per_epoch
        hooks = [
            Hook(1, self._log),
            Hook(self.config.save_every or epoch, lambda step: self.keeper.save(step.index), at_end=True),
            Hook(self._evaluate_every, self._validate),
        ]
        with stop_on_signals() as stop:
            self._run_all(start, hooks, stop)
            if stop.reason is not None:
                code = 130 if stop.reason == "SIGINT" else 143
                raise RunFailed(f"stopped by {stop.reason} after a whole step. {self._how_to_continue()}", code)
        return self._finish()

    @property
    def _evaluate_every(self) -> int:
        return 0 if self.work.read is None else self.config.evaluate_every or self.work.stream.steps_per_epoch

    def _run_all(self, start: int, hooks: list[Hook], stop: Stop) -> None:
        try:
            try:
                if start == 0:
                    self.keeper.save(0)
                    self.keeper.wait()
                elif self._evaluate_every and start % self._evaluate_every == 0 and self._reading(start) is None:
                    self._evaluate(start)  # the run was killed between the two
                with self.display.training(self.engine.schedule.steps) as self.bar:
                    for _ in run_steps(self.engine, start=start, hooks=hooks, stop=stop):
                        pass
            finally:
                self.keeper.wait()
        except OSError as error:
            raise RunFailed(f"could not save: {error}. Free some space. {self._how_to_continue()}", 4) from error
        except Diverged as error:
            newest = self.run.checkpoints()[-1]
            raise diverged(error, error.documents, kind="Rows", newest=newest, rate="--lr") from error

    def _log(self, step: Step) -> None:
        read = self.work.stream.tokens(step.index - 1)
        self.tokens += read
        figures = {**step.means, "lr": step.lr, "grad_norm": step.grad_norm}
        row: dict[str, Any] = {"step": step.index, **{name: as_json(value) for name, value in figures.items()}}
        self.run.log({**row, "tokens": self.tokens, "counted": step.tokens, "seconds": step.seconds})
        self.keeper.collect()
        memory = MEMORY if self.mean_speed else 0.0
        self.mean_loss = memory * self.mean_loss + (1 - memory) * step.loss
        self.mean_speed = memory * self.mean_speed + (1 - memory) * read / step.seconds
        if self.bar is not None:
            steps = self.engine.schedule.steps
            per_step = (time.monotonic() - self.began) / max(1, step.index - self.began_at)
            self.bar.update(
                step=step.index,
                steps=steps,
                loss=self.mean_loss,
                tokens_per_second=self.mean_speed,
                seconds_left=(steps - step.index) * per_step,
            )

    def _validate(self, step: Step) -> None:
        self._evaluate(step.index)

    def _evaluate(self, step: int) -> Mapping[str, float]:
        """Read the validation examples, and keep the checkpoint if it is the best yet."""
        assert self.work.read is not None
        found = self.work.read()
        if not all(math.isfinite(value) for value in found.values()):
            raise RunFailed(
                "the validation loss is no longer finite: the weights have run away. Start again with a lower --lr; "
                f"{self.run.path / 'config.json'} has the one that was used.",
                3,
            )
        epoch = step / self.work.stream.steps_per_epoch
        told = {f"val_{name}": value for name, value in found.items()}
        self.run.log({"step": step, "epoch": round(epoch, 3), **told})
        self.display.say(f"epoch {epoch:g}, step {step:,}: {describe(found)}")
        self.keeper.validated(step, found)
        return found

    def _reading(self, step: int) -> dict[str, float] | None:
        rows = [row for row in self.run.rows() if row["step"] == step and "val_loss" in row]
        return without_prefix(rows[-1]) if rows else None

    def _finish(self) -> TuneResult:
        step = self.engine.schedule.steps
        final = self.run.checkpoint_path(step)
        self.run.point("final", final)
        readings: Mapping[str, float] = {}
        if self.work.read is not None:
            readings = self._reading(step) or self._evaluate(step)
            self.keeper.wait()
        best = self.run.path / "best"
        best_step = int(best.resolve().name) if best.is_dir() else step
        self.run.tell("finished", step, {})
        draw_tuning(self.run.rows(), self.run.path / "plots" / "tuning.png", title=self.run.path.name)
        return TuneResult(
            lm=self.work.lm(final),
            final=final,
            best=self.run.checkpoint_path(best_step),
            readings=readings,
            best_readings=self._reading(best_step) or readings,
        )

    def _how_to_continue(self) -> str:
        checkpoints = self.run.checkpoints()
        if not checkpoints:
            return "Nothing was saved yet: give the same command again."
        return f"The newest checkpoint is {checkpoints[-1]}; continue with:\n  ensue finetune --resume {self.run.path}"


def describe(readings: Mapping[str, float]) -> str:
    """`accuracy 0.812, f1 0.790, loss 0.412`."""
    return ", ".join(f"{name} {readings[name]:.3f}" for name in sorted(readings, key=lambda name: name == "loss"))
