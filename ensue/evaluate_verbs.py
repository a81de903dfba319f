"""The verbs of evaluation: `ensue evaluate`, and `ensue compare` of two models."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True)
class Evaluate:
    """Measure a model on tasks asked as text: zero-, one- and few-shot, with intervals, every item written down.

    The folder has results.json, table.md, curve.png where several numbers of shots were asked for, and each item with
    the exact text sent. Give the same command again after it was stopped, and it goes on.

      ensue evaluate runs/demo --tasks rocstories --shots 0,1,5 --data tasks/
      ensue evaluate --list --data tasks/
    """

    model: Positional[str | None] = None
    """A run, a checkpoint, a Hugging Face folder or a Hub name."""
    tasks: str = ""
    """Names with commas between; FILE.py runs that Python file and takes its TASKS."""
    shots: str = "0"
    """How many examples are shown before each item; several with commas between give a curve."""
    data: Path | None = None
    """Folder with the tasks' files; $ENSUE_DATA, or data, unless said."""
    out: Path | None = None
    """Folder to write; in evaluations, named by model and settings, unless said."""
    limit: int | None = None
    """So many items of each task, drawn with the seed, instead of all."""
    seed: int = 0
    """Of the examples, of what --limit draws, of samples and of resampled items."""
    same_shots: bool = False
    """The same examples before all items, instead of a draw for each."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the weights."""
    list: bool = False
    """Show all tasks: what they measure, and whether their files are there."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        import json

        from ensue.evaluate.user_tasks import chosen_tasks
        from ensue.recipes.display import Display
        from ensue.recipes.evaluating.evaluating import Question, evaluate
        from ensue.recipes.evaluating.models import open_scorer
        from ensue.recipes.evaluating.tables import as_table

        display = Display(to_stderr=True)
        if self.model is None:
            raise ValueError("say what to measure: ensue evaluate runs/demo --tasks rocstories --data tasks/")
        tasks = chosen_tasks(_names(self.tasks), tell=display.say)
        question = Question(
            tuple(tasks),
            data_folder(self.data),
            shots=_counts(self.shots),
            limit=self.limit,
            seed=self.seed,
            same_shots=self.same_shots,
        )
        scorer = open_scorer(self.model, device=self.device, dtype=self.dtype)
        folder, told = evaluate(scorer, question, self.out, display=display)
        if self.json:
            print(json.dumps(told))
        else:
            Display().show(as_table(told))
            display.say(f"in {folder}: results.json, table.md, items/")


def data_folder(given: Path | None) -> Path:
    """Where the tasks' files are unless said: $ENSUE_DATA, or data."""
    return given if given is not None else Path(os.environ.get("ENSUE_DATA", "data"))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _counts(text: str) -> tuple[int, ...]:
    parts = _names(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise ValueError(f"--shots {text} should be numbers with commas between, such as --shots 0,1,5.")
    return tuple(dict.fromkeys(int(part) for part in parts))
