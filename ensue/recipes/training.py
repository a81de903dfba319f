"""One training run from config to final checkpoint: the parts wired to the engine, and the hooks around it."""

from __future__ import annotations

import json
import math
import platform
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ensue import __version__
from ensue.core.config import from_dict, to_dict
from ensue.core.device import choose_device, choose_precision
from ensue.core.run import RunFolder
from ensue.generate.lm import LM
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.weights import load_model, save_model
from ensue.recipes.compiling import compiled_states
from ensue.recipes.data import Data
from ensue.recipes.display import Display, TrainingBar
from ensue.recipes.failure import RunFailed
from ensue.recipes.held_out import HeldOutLoss, held_out_loss
from ensue.recipes.pictures import draw_loss
from ensue.recipes.run_config import RunConfig
from ensue.recipes.warm_start import warm_start
from ensue.tokens.stream import PackedStream
from ensue.train.checkpoint import load_checkpoint, save_checkpoint
from ensue.train.engine import Diverged, Engine, Step
from ensue.train.loop import Hook, Stop, run_steps, stop_on_signals
from ensue.train.optimizer import Optimizer

SPEED_MEMORY = 0.9
"""Weight of the past in the running averages of loss and speed that the display shows."""


@dataclass(frozen=True)
class RunResult:
    """What a finished run leaves: the model, its loss on all held-out text, and where the final checkpoint is."""

    lm: LM
    held_out: HeldOutLoss
    final: Path


def start_run(run: RunFolder, config: RunConfig, *, display: Display, deadline: float | None = None) -> RunResult:
    """Train as `config` says, from a fresh model. `deadline` is in `time.monotonic()` seconds."""
    # "auto" is measured, and a busy machine may measure otherwise when the run is continued.
    precision = choose_precision(config.precision, choose_device(config.device))
    config = replace(config, precision=precision, optimizer=replace(config.optimizer, muon_precision=precision))
    run.write_config(
        {"config": to_dict(config), "versions": _versions(), "revision": _revision(), "hardware": _hardware()}
    )
    data = Data(run.path.resolve() / config.data)
    model = GPT.build(config.model, config.seed)
    if config.warm_start:
        try:
            loss = warm_start(model, data.train, steps=config.warm_start, seed=config.seed, display=display)
        except Diverged as error:
            raise RunFailed("fitting the bigrams diverged; leave it out with --warm_start 0", 3) from error
        display.say(
            f"embeddings and head start at the corpus's bigrams: {loss:.3f} nats a token before any block learns"
        )
    return _Run(run, config, data, model, display, deadline).train(start=0)


def resume_run(run: RunFolder, *, display: Display) -> RunResult:
    """Continue from the newest checkpoint, exactly. Raises ValueError naming what is damaged or missing."""
    config = from_dict(RunConfig, run.read_config()["config"])
    checkpoints = run.checkpoints()
    if not checkpoints:
        raise ValueError(f"{run.path} has no checkpoint to continue from; start it again under a new name with --run.")
    newest = checkpoints[-1]
    data = Data(run.path.resolve() / config.data)
    training = _Run(run, config, data, load_model(newest), display, None)
    progress = load_checkpoint(training.engine, newest)
    saved = json.loads((newest / "ensue.json").read_text(encoding="utf-8"))["tokenizer"]
    if saved != data.tokenizer.fingerprint:
        raise ValueError(f"{newest} was trained with another tokenizer than {data.path / 'tokenizer'}.")
    run.forget_after(progress.step)
    display.say(f"continuing {run.path} from step {progress.step:,} of {progress.schedule.steps:,}")
    if config.minutes is not None and run.rows():
        spent = sum(row.get("seconds", 0.0) for row in run.rows())
        training.deadline = time.monotonic() + max(0.0, config.minutes * 60 - spent)
    return training.train(start=progress.step)


class _Run:
    """The parts of one run, and its hooks."""

    def __init__(
        self, run: RunFolder, config: RunConfig, data: Data, model: GPT, display: Display, deadline: float | None
    ) -> None:
        self.run, self.config, self.data, self.display, self.deadline = run, config, data, display, deadline
        self.device = choose_device(config.device)
        self.precision = choose_precision(config.precision, self.device)
        self.model = model.to(self.device)
        self.lm = LM(model=self.model, tokenizer=data.tokenizer, path=run.path)
        self.plain = NextToken()
        self.engine = Engine(
            model=self.model,
            objective=NextToken(compiled_states(self.model, config.compile, display)),
            stream=PackedStream(
                data.train,
                context=config.model.context,
                batch=config.batch,
                micro_batch=config.micro_batch,
                seed=config.seed,
                segments=config.separate_documents,
            ),
            optimizer=Optimizer(self.model, config.optimizer),
            schedule=config.schedule,
            clip=config.optimizer.clip,
            device=self.device,
            precision=self.precision,
            seed=config.seed,
        )
        self.bar: TrainingBar | None = None
        self.began = self.fitted = time.monotonic()
        self.began_at = 0
        self.mean_loss = self.mean_speed = 0.0
        self.tokens_before = 0

    def train(self, *, start: int) -> RunResult:
        """Run the steps from `start` on. Raises RunFailed where the run ends early."""
        config = self.config
        self.began = self.fitted = time.monotonic()
        self.began_at, self.tokens_before = start, self.engine.tokens
        hooks = [
            Hook(1, self._log),
            Hook(1 if self.deadline is not None else 0, self._keep_pace),
            Hook(config.save_every, self._save, at_end=True),
            Hook(config.evaluate_every, self._evaluate),
            Hook(config.sample_every, self._sample),
        ]
        with stop_on_signals() as stop:
            if start == 0:
                self._save_at(0)
            elif self._lacks_reading(start):
                self._evaluate_at(start)
            with self.display.training(self.engine.schedule.steps) as self.bar:
                self._run_all(start, hooks, stop)
            if stop.reason is not None:
                code = 130 if stop.reason == "SIGINT" else 143
                raise RunFailed(f"stopped by {stop.reason} after a whole step. {self._how_to_continue()}", code)
        return self._finish()

    def _run_all(self, start: int, hooks: list[Hook], stop: Stop) -> None:
        try:
            for _ in run_steps(self.engine, start=start, hooks=hooks, stop=stop):
                pass
        except Diverged as error:
            raise RunFailed(self._diverged(error), 3) from error
        except OSError as error:
            raise RunFailed(f"could not save: {error}. Free some space. {self._how_to_continue()}", 4) from error

    def _log(self, step: Step) -> None:
        row = {
            "step": step.index,
            **step.means,
            "lr": step.lr,
            "grad_norm": step.grad_norm,
            "tokens": step.tokens,
            "seconds": step.seconds,
        }
        self.run.log(row)
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

    def _save(self, step: Step) -> None:
        self._save_at(step.index)

    def _save_at(self, step: int) -> None:
        save_checkpoint(
            self.engine, self.run.checkpoint_path(step), step=step, write_model=lambda f: self._write_model(f, step)
        )
        self.run.keep_newest(self.config.keep_checkpoints)

    def _write_model(self, folder: Path, step: int) -> None:
        save_model(self.model, folder, end_token=self.data.tokenizer.end)
        self.data.tokenizer.save(folder)
        facts = {"format": 1, "tokenizer": self.data.tokenizer.fingerprint, "step": step}
        (folder / "ensue.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")

    def _evaluate(self, step: Step) -> None:
        self._evaluate_at(step.index)

    def _evaluate_at(self, step: int) -> None:
        loss = self._held_out(self.config.evaluate_tokens)
        self.run.log({"step": step, "val_loss": loss.nats, "val_bits_per_byte": loss.bits_per_byte})
        self.display.say(f"step {step:,}: held-out loss {loss.nats:.3f}, {loss.bits_per_byte:.3f} bits per byte")

    def _lacks_reading(self, step: int) -> bool:
        """Whether the run was killed after it saved this step, but before it read the held-out loss that was due."""
        every = self.config.evaluate_every
        due = every > 0 and step % every == 0
        return due and not any(row["step"] == step and "val_loss" in row for row in self.run.rows())

    def _sample(self, step: Step) -> None:
        pieces = [
            f"{prompt}{self.lm.generate(prompt, max_new_tokens=60, temperature=0.8, top_k=50, seed=step.index)}"
            for prompt in self.config.sample_prompts
        ]
        text = "\n\n---\n\n".join(pieces)
        (self.run.path / "samples" / f"{step.index:08d}.txt").write_text(text + "\n", encoding="utf-8")
        self.display.say(f"step {step.index:,} writes: {pieces[0]!r}", style="dim")

    def _held_out(self, limit_tokens: int | None, stride: int | None = None) -> HeldOutLoss:
        loss = held_out_loss(
            self.model,
            self.data.held_out,
            objective=self.plain,
            micro_batch=self.config.micro_batch,
            precision=self.precision,
            limit_tokens=limit_tokens,
            stride=stride,
        )
        if not math.isfinite(loss.nats):
            raise RunFailed(
                f"the held-out loss is no longer finite: the weights of {self.run.checkpoints()[-1]} have run away. "
                "Start again with a lower --optimizer.lr; config.json has the one that was used.",
                3,
            )
        return loss

    def _finish(self) -> RunResult:
        final = self.run.checkpoints()[-1]
        self.run.set_final(final)
        self.model.eval()
        loss = self._held_out(self.config.final_tokens, stride=max(1, self.config.model.context // 2))
        step = self.engine.schedule.steps
        if not any("val_tokens" in row for row in self.run.rows()):  # a finished run that is resumed has it already
            read = {"val_loss": loss.nats, "val_bits_per_byte": loss.bits_per_byte, "val_tokens": loss.tokens}
            self.run.log({"step": step, **read})
        draw_loss(self.run.rows(), self.run.path / "plots" / "loss.png", title=self.run.path.name)
        return RunResult(LM(model=self.model, tokenizer=self.data.tokenizer, path=final), loss, final)

    def _how_to_continue(self) -> str:
        newest = self.run.checkpoints()[-1]
        return f"The newest checkpoint is {newest}; continue with:\n  ensue train --resume {self.run.path}"

    def _diverged(self, error: Diverged) -> str:
        documents = "\n".join(f"  {span.id}  {span.source}" for span in error.documents[:20])
        more = f"\n  and {len(error.documents) - 20} more" if len(error.documents) > 20 else ""
        return (
            f"step {error.step + 1}: {error.what} is not a finite number, so no weight was changed.\n"
            f"Documents in that step:\n{documents}{more}\n"
            f"The last good checkpoint is {self.run.checkpoints()[-1]}. A lower --optimizer.lr usually helps; "
            "--precision fp32 tells whether rounding is the cause."
        )


def _versions() -> dict[str, str]:
    return {"ensue": __version__, "torch": str(torch.__version__), "python": platform.python_version()}


def _hardware() -> dict[str, str | int]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"machine": platform.machine(), "system": platform.system(), "threads": torch.get_num_threads(), "gpu": gpu}


def _revision() -> str:
    """The source revision this Ensue runs from, where it runs from a git checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "installed package"
    return found.stdout.strip()
