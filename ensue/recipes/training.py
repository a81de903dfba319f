"""One training run from config to final checkpoint: its parts driven by the engine, and the hooks around it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ensue.core.config import to_dict
from ensue.core.device import choose_device, choose_precision
from ensue.core.run import RunFolder
from ensue.generate.lm import LM
from ensue.model.weights import load_model
from ensue.recipes.data import Data
from ensue.recipes.display import Display, TrainingBar
from ensue.recipes.environment import environment
from ensue.recipes.failure import RunFailed, diverged
from ensue.recipes.following import how_to_start, lost
from ensue.recipes.held_out import HeldOutLoss
from ensue.recipes.keeping import Keeper
from ensue.recipes.parts import Parts, build_parts, fresh_model, take_up
from ensue.recipes.pictures import draw_loss
from ensue.recipes.reading import Reader
from ensue.recipes.resuming import config_to_continue, newest_whole, schedule_to_continue
from ensue.recipes.run_config import RunConfig
from ensue.recipes.run_log import RunLog, elapsed_so_far
from ensue.train.checkpoint import check_whole, read_progress
from ensue.train.engine import Diverged, Step
from ensue.train.loop import Hook, Stop, run_steps, stop_on_signals
from ensue.train.norms import LayerNorms
from ensue.train.spikes import Spike, SpikeGuard

SPEED_MEMORY = 0.9
"""Weight of the past in the running averages of loss and speed that the display shows."""


@dataclass(frozen=True)
class RunResult:
    """What a finished run leaves: the model, its loss on all held-out text, and where the final checkpoint is."""

    lm: LM
    held_out: HeldOutLoss
    final: Path


def start_run(run: RunFolder, config: RunConfig, *, display: Display, deadline: float | None = None) -> RunResult:
    """Train as `config` says, from a fresh model. `deadline` is in `time.monotonic()` seconds. The caller holds the
    run's lock."""
    # "auto" is measured, and a busy machine may measure otherwise when the run is continued.
    precision = choose_precision(config.precision, choose_device(config.device))
    config = replace(config, precision=precision, optimizer=replace(config.optimizer, muon_precision=precision))
    run.write_config({"config": to_dict(config), **environment()})
    run.tell("began", 0, environment())
    data = Data(run.path.resolve() / config.data)
    parts = build_parts(config, data, fresh_model(config, data, display), display)
    return Training(run, parts, display=display, deadline=deadline).train(start=0)


def resume_run(
    run: RunFolder,
    *,
    display: Display,
    changes: Mapping[str, str] | None = None,
    texts: Sequence[Path] = (),
    allowed: bool = False,
) -> RunResult:
    """Continue from the newest whole checkpoint, exactly. The caller holds the run's lock.

    `changes` are fields to set from there on, and `texts` other data, where `allowed`. Raises ValueError naming what is
    damaged or missing, or which field is not what the checkpoint was trained with.
    """
    newest = newest_whole(run, display)
    progress = read_progress(newest)
    config, data = config_to_continue(
        run, progress, changes=changes or {}, texts=texts, allowed=allowed, display=display
    )
    parts = build_parts(config, data, load_model(newest), display)
    elapsed = elapsed_so_far(run)
    run.tell("continued", progress.step, {**environment(), "elapsed": elapsed})
    training = Training(run, parts, display=display, elapsed=elapsed, start=progress.step)
    training.go_back_to(newest)
    schedule = schedule_to_continue(progress, config, display)
    if schedule != progress.schedule:
        parts.engine.schedule = schedule
        training.log.schedule(progress.step + 1, vars(schedule))
    display.say(f"continuing {run.path} from step {progress.step:,} of {parts.engine.schedule.steps:,}")
    if config.minutes is not None and elapsed:
        training.deadline = time.monotonic() + max(0.0, config.minutes * 60 - elapsed)
    return training.train(start=progress.step)


class Training:
    """A run at work: its hooks, and what it does about spikes, stops and errors."""

    def __init__(
        self,
        run: RunFolder,
        parts: Parts,
        *,
        display: Display,
        deadline: float | None = None,
        elapsed: float = 0.0,
        start: int = 0,
    ) -> None:
        """`elapsed` is what earlier processes have spent on the run, `start` the step that they came to."""
        self.run, self.parts, self.display, self.deadline = run, parts, display, deadline
        self.config, self.engine = parts.config, parts.engine
        self.log = RunLog(run, parts, elapsed=elapsed, start=start)
        self.reader = Reader(run, parts, self.log, display)
        self.guard = SpikeGuard(self.config.spikes)
        self.norms = LayerNorms(parts.model, self.config.norms_every)
        self.keeper = Keeper(run, parts, self.log, self._record)
        self.rollbacks: Counter[int] = Counter()
        if self.config.spikes.action != "off" or self.config.norms_every:
            parts.crew.judge_by(self._judge)
        self.bar: TrainingBar | None = None
        self.began = self.fitted = time.monotonic()
        self.began_at = 0
        self.mean_loss = self.mean_speed = 0.0
        self.tokens_before = 0

    def go_back_to(self, checkpoint: Path, *, from_disk: bool = False) -> None:
        """Make everything what it was at a whole checkpoint, the weights `from_disk` too; later rows are forgotten."""
        progress = take_up(self.parts, self.guard, checkpoint, weights=from_disk)
        self.log.forget_after(progress.step)
        head = progress.record.get("receipts", self.log.receipts.head)
        if head != self.log.receipts.head:
            self.display.say(
                f"{self.run.receipts_path} does not end as it did when step {progress.step:,} was saved; "
                "`ensue verify` will say where it was changed."
            )
            self.log.receipts.head = head
        self.keeper.starts_at(progress.step)

    def train(self, *, start: int) -> RunResult:
        """Run the steps from `start` on. Raises RunFailed where the run ends early."""
        config = self.config
        self.began = self.fitted = time.monotonic()
        self.began_at, self.tokens_before = start, self.engine.tokens
        hooks = [
            Hook(1, self._log),
            Hook(1 if self.deadline is not None else 0, self._keep_pace),
            Hook(config.save_every, lambda step: self.keeper.save(step.index), at_end=True),
            Hook(config.evaluate_every, lambda step: self._evaluate(step.index)),
            Hook(config.sample_every, lambda step: self.reader.sample(step.index)),
        ]
        with stop_on_signals() as stop:
            if start == 0:
                self.keeper.save(0)
                self.keeper.wait()
            elif self.reader.lacks(start):
                self._evaluate(start)
            with self.display.training(self.engine.schedule.steps) as self.bar:
                self._run_all(start, hooks, stop)
            if stop.reason is not None:
                code = 130 if stop.reason == "SIGINT" else 143
                raise RunFailed(f"stopped by {stop.reason} after a whole step. {self._how_to_continue()}", code)
        return self._finish()

    def _run_all(self, start: int, hooks: list[Hook], stop: Stop) -> None:
        try:
            try:
                self._run_steps(start, hooks, stop)
            finally:
                self.log.flush()
                self.keeper.wait()
        except RuntimeError as error:
            failure = lost(error, self._how_to_continue())
            if failure is None:
                raise
            raise failure from error
        except OSError as error:
            raise RunFailed(f"could not save: {error}. Free some space. {self._how_to_continue()}", 4) from error
        except Diverged as error:
            read = [f"{span.id}  {span.source}" for span in error.documents]
            newest = self.run.checkpoints()[-1]
            raise diverged(error, read, kind="Documents", newest=newest, rate="--optimizer.lr") from error

    def _run_steps(self, start: int, hooks: list[Hook], stop: Stop) -> None:
        while True:
            try:
                for _ in run_steps(self.engine, start=start, hooks=hooks, stop=stop):
                    pass
            except Spike as spike:
                start = self._roll_back(spike)
            else:
                return

    def _judge(self, index: int, loss: float, grad_norm: float) -> str | None:
        """Why step `index` should change no weight, if there is a reason."""
        action = self.config.spikes.action
        reason = self.guard.judge(loss, grad_norm) if action != "off" else None
        if reason is not None and action == "rollback":
            raise Spike(index, reason)
        if reason is None and self.norms.due(index + 1):
            self.norms.before_update()
        return reason

    def _roll_back(self, spike: Spike) -> int:
        """Go back to the newest regular checkpoint, and on with the data behind the spike; returns its step."""
        self.keeper.wait()
        step = self.keeper.back_to(spike.index)
        checkpoint = self.run.checkpoint_path(step)
        self.rollbacks[step] += 1
        if self.rollbacks[step] > self.config.spikes.most or not checkpoint.is_dir():
            raise RunFailed(
                f"{spike}. Going back to {checkpoint} {self.rollbacks[step] - 1} times has not helped. "
                "A lower --optimizer.lr usually does, or --spikes.action skip.",
                3,
            )
        behind, told = self.parts.stream.place(spike.index) + 1, self.log.rollbacks_to(step)
        check_whole(checkpoint)
        self.run.drop_after(step)
        self.go_back_to(checkpoint, from_disk=True)
        self.parts.stream.move(step, behind - self.parts.stream.place(step))
        moved = self.parts.stream.moves[-1][1]
        row = {"step": step + 1, "rolled_back_from": spike.index + 1, "reason": spike.reason, "moved": moved}
        self.log.rolled_back([*told, row])
        self.tokens_before = self.engine.tokens
        self.display.say(f"{spike}: back to step {step:,}, and on with the data behind step {spike.index + 1:,}")
        return step

    def _log(self, step: Step) -> None:
        told = self.norms.due(step.index) and step.skipped is None
        self.log.step(step, self.norms.after_update(step.grad_norm, self.engine.clip) if told else {})
        self.keeper.collect()
        if step.skipped is not None:
            self.display.say(f"step {step.index:,} skipped: {step.skipped}")
        speed = (step.tokens - self.tokens_before) / step.seconds
        self.tokens_before = step.tokens
        memory = SPEED_MEMORY if self.mean_speed else 0.0
        self.mean_loss = memory * self.mean_loss + (1 - memory) * step.loss
        self.mean_speed = memory * self.mean_speed + (1 - memory) * speed
        if self.bar is not None:
            steps = self.engine.schedule.steps
            left = (steps - step.index) * self._seconds_per_step(step.index)
            self.bar.update(
                step=step.index,
                steps=steps,
                loss=self.mean_loss,
                tokens_per_second=self.mean_speed,
                seconds_left=left,
            )

    def _seconds_per_step(self, index: int) -> float:
        return (time.monotonic() - self.began) / max(1, index - self.began_at)

    def _keep_pace(self, step: Step) -> None:
        """Fit the schedule's end to the time left, at the speed seen so far, about fifty times in a run."""
        assert self.deadline is not None
        schedule, now = self.engine.schedule, time.monotonic()
        if now - self.fitted < (self.deadline - self.began) / 50 or step.index >= schedule.steps:
            return
        self.fitted = now
        left = max(0.0, self.deadline - now)
        steps = step.index + max(1, round(left / self._seconds_per_step(step.index)))
        if abs(steps - schedule.steps) > 0.005 * schedule.steps:
            self.engine.schedule = schedule.refitted(step.index, steps)
            self.log.schedule(step.index, vars(self.engine.schedule))

    def _record(self) -> dict[str, Any]:
        """What of the run's own a checkpoint needs: where the data has been moved on, and what spikes are judged by."""
        moves = [list(move) for move in self.parts.stream.moves]
        judged = self.config.spikes.action != "off"
        return {"moves": moves, **({"spikes": self.guard.state_dict()} if judged else {})}

    def _evaluate(self, step: int) -> None:
        """Read the held-out loss, and keep the checkpoint if it is the lowest yet."""
        loss = self.reader.read(step)
        self.keeper.held_out(step, loss.nats)

    def _finish(self) -> RunResult:
        final, step = self.run.checkpoints()[-1], self.engine.schedule.steps
        self.run.point("final", final)
        loss = self.reader.read_at_the_end(step)
        self.run.tell("finished", step, {"elapsed": self.log.elapsed})
        self.log.flush()
        best = self.keeper.best
        if best is not None and best[1] not in (-1, step):
            self.display.say(f"held-out loss was lowest, {best[0]:.3f}, at step {best[1]:,}: {self.run.path / 'best'}")
        draw_loss(self.run.rows(), self.run.path / "plots" / "loss.png", title=self.run.path.name)
        model = self.parts.crew.whole_model().eval()
        return RunResult(LM(model=model, tokenizer=self.parts.data.tokenizer, path=final), loss, final)

    def _how_to_continue(self) -> str:
        newest = self.run.checkpoints()[-1]
        return f"The newest checkpoint is {newest}; continue with:\n  {how_to_start()} train --resume {self.run.path}"
