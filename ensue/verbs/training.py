"""Verbs of pre-training: the demo, runs, and what can be asked of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

Recipe = Literal["auto", "gpt", "bert", "gpt2", "gpt3", "modern"]


@dataclass(frozen=True)
class Demo:
    """Train a small GPT on real text in a few minutes, and let it write.

    The text is the documentation inside this Python installation, or your own:

      ensue demo
      ensue demo --text books/ --minutes 5 --run runs/books
    """

    minutes: float = 3.0
    """Minutes of training."""
    run: Path = Path("runs/demo")
    """Folder to write the run to; an earlier demo there is replaced."""
    text: Path | None = None
    """Your own text: a file or a folder."""
    seed: int = 0
    """Another seed gives another model."""

    def start(self) -> None:
        from ensue.recipes.demo import run_demo
        from ensue.recipes.display import Display

        run_demo(self.run, minutes=self.minutes, text=self.text, seed=self.seed, display=Display())


@dataclass(frozen=True)
class Train:
    """Train a GPT on text or prepared data, or continue a run exactly where it stopped.

    With --minutes, size, batch, learning rate and length are chosen for this text on this machine, and explained.
    Any field of the run's config.json can be set by its name:

      ensue train books/ --run runs/books --minutes 30
      ensue train data/mine --run runs/small --recipe gpt2 --steps 2000 --layers 4 --width 256 --heads 4
      ensue train --resume runs/books
    """

    text: Positional[tuple[Path, ...]] = ()
    """Files or folders of text, or one folder made by `ensue prepare`, `ensue curate` or `ensue corpus mix`."""
    run: Path | None = None
    """Folder to write the run to; it must not exist."""
    recipe: Recipe = "auto"
    """Whose settings: a paper's (gpt, gpt2, gpt3), today's (modern), or the best for these minutes (auto)."""
    preset: str | None = None
    """A model by name (see `ensue info`); the recipe's smallest unless said."""
    minutes: float | None = None
    """Time for the whole command; picks everything that is not said."""
    steps: int | None = None
    """Optimizer steps, instead of minutes."""
    seed: int | None = None
    """Decides the weights, the order of the text, and what is held out; 0 unless said."""
    vocab: int | None = None
    """Size of the tokenizer to train."""
    tokenizer: Path | None = None
    """Use this tokenizer's folder instead of training one."""
    resume: Path | None = None
    """Continue this run from its newest whole checkpoint."""
    changed: bool = False
    """Continue even though fields of the config, or the data, are not what the run was trained with."""

    def start(self, changes: dict[str, str]) -> None:
        from ensue.recipes.following import crew

        with crew() as leads:
            if leads:
                self._lead(changes)

    def _lead(self, changes: dict[str, str]) -> None:
        from ensue.recipes.display import Display
        from ensue.recipes.start import resume, start

        if self.resume is not None:
            resume(
                self.resume,
                changes=self._changes_to_a_run(changes),
                texts=self.text,
                tokenizer=self.tokenizer,
                allowed=self.changed,
                display=Display(),
            )
            return
        if self.changed:
            raise ValueError("--changed goes with --resume, for a run that is to go on with other settings.")
        _refuse_misspelt(changes)
        if not self.text:
            raise ValueError("say what to train on: ensue train TEXT --run runs/mine --minutes 10")
        if self.run is None:
            raise ValueError("say where to write the run: ensue train TEXT --run runs/mine --minutes 10")
        start(
            self.text,
            self.run,
            recipe=self.recipe,
            preset_name=self.preset,
            minutes=self.minutes,
            steps=self.steps,
            seed=self.seed or 0,
            vocab=self.vocab,
            tokenizer=self.tokenizer,
            changes=changes,
            display=Display(),
        )

    def _changes_to_a_run(self, changes: dict[str, str]) -> dict[str, str]:
        """The fields to set in a run that is continued, of those that have an option of their own as well."""
        others = (self.run, self.preset, self.vocab)
        if any(other is not None for other in others) or self.recipe != "auto":
            raise ValueError(
                "--resume continues a run in its folder, with its model and tokenizer; give nothing else but fields to "
                "change, or a folder of prepared data: ensue train --resume RUN"
            )
        given = {"schedule.steps": self.steps, "minutes": self.minutes, "seed": self.seed}
        return {**changes, **{name: str(value) for name, value in given.items() if value is not None}}


@dataclass(frozen=True)
class Plan:
    """What training a preset takes, before anything runs: memory on each GPU by kind, FLOPs, time, what fits.

    Pure arithmetic: no GPU is needed to ask.

      ensue plan gpt3-175b --gpus 1024 --memory 80
      ensue plan gpt2-xl --gpus 8 --memory 24 --tokens 30e9 --flops-per-gpu 71e12
    """

    preset: Positional[str]
    """A model by name (see `ensue info`)."""
    gpus: int = 1
    """GPUs, one process each."""
    memory: float = 80.0
    """GB of each."""
    tokens: float | None = None
    """Tokens to train on; GPT-3's 300 billion for its sizes, 20 a parameter for others."""
    batch: int | None = None
    """Sequences a step; the recipe's own unless said."""
    flops_per_gpu: float = 989e12
    """Peak FLOPs a second of one GPU; an H100's or H200's in bf16 unless said."""
    mfu: float = 0.4
    """Share of the peak that a step reaches."""
    gpus_per_node: int = 8
    """GPUs of one machine, with fast links among them."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Of the matrix products; master weights are fp32 in both."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.recipes.display import Display
        from ensue.recipes.plan import ask, make_plan
        from ensue.recipes.plan_report import plan_as_json, show_plan

        question = ask(
            self.preset,
            gpus=self.gpus,
            memory_gb=self.memory,
            tokens=self.tokens,
            batch=self.batch,
            precision=self.precision,
            gpus_per_node=self.gpus_per_node,
            flops=self.flops_per_gpu,
            utilisation=self.mfu,
        )
        plan = make_plan(question)
        if self.json:
            print(plan_as_json(plan))
        else:
            show_plan(plan, Display())


@dataclass(frozen=True)
class Verify:
    """Train steps of a run once more and compare: bit-identical, or the first step and tensor that differ.

    It starts from the newest checkpoint at or before the first step, and changes nothing in the run. The exit code is 1
    where there is a difference.

      ensue verify runs/books --steps 400:450
    """

    run: Positional[Path]
    """The run."""
    steps: str
    """FROM:TO replays the steps after FROM up to TO."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.recipes.following import crew

        with crew() as leads:
            if leads:
                self._lead()

    def _lead(self) -> None:
        from ensue.core.run import RunFolder
        from ensue.recipes.display import Display
        from ensue.recipes.verify import verify
        from ensue.recipes.verify_report import describe

        first, colon, last = self.steps.partition(":")
        if not (colon and first.isdecimal() and last.isdecimal()):
            raise ValueError(f"--steps {self.steps} is no window; give it as FROM:TO, such as --steps 400:450.")
        run = RunFolder.open(self.run)
        verdict = verify(run, int(first), int(last), display=Display(to_stderr=True))
        print(describe(verdict, as_json=self.json))
        if verdict.difference is not None:
            raise SystemExit(1)


@dataclass(frozen=True)
class Why:
    """List the documents that a step of a run was trained on, with their sources; of a tuning, the rows.

    ensue why runs/books --step 412
    """

    run: Positional[Path]
    """The run."""
    step: int
    """The step, counted from 1 as metrics.jsonl does."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        from ensue.core.run import RunFolder
        from ensue.recipes.finetuning.why import is_tuning, show_rows
        from ensue.recipes.why import show_documents

        run = RunFolder.open(self.run)
        show = show_rows if is_tuning(run) else show_documents
        print(show(run, self.step, as_json=self.json))


def _refuse_misspelt(changes: Iterable[str]) -> None:
    """Raise ValueError for a name that is no field of a run but nearly an option of `ensue train`."""
    from ensue.recipes.run_config import is_field

    own = [field.name for field in fields(Train)]
    for name in changes:
        close = difflib.get_close_matches(name, own, n=1)
        if close and not is_field(name):
            raise ValueError(f"there is no option --{name}; did you mean '--{close[0]}'?")
