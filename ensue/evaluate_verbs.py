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
        if self.list:
            _show_tasks(self.tasks, data_folder(self.data), as_json=self.json)
            return
        if self.model is None:
            raise ValueError("say what to measure: ensue evaluate runs/demo --tasks rocstories --data tasks/")
        question = Question(
            tuple(chosen_tasks(_names(self.tasks), tell=display.say)),
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
            return
        Display().show(as_table(told))
        display.say(f"in {folder}: results.json, table.md, items/{', curve.png' if len(question.shots) > 1 else ''}")


@dataclass(frozen=True)
class Compare:
    """Compare two models on the same items: differences with paired intervals, wins and losses, the items that flipped.

    A and B are models, which are evaluated where the same evaluation is not in evaluations/ yet, or the folders of two
    finished evaluations.

      ensue compare runs/small runs/large --tasks rocstories,lambada --data tasks/
      ensue compare evaluations/a evaluations/b --out comparisons/a-and-b
    """

    first: Positional[str]
    """A model, or a finished evaluation's folder."""
    second: Positional[str]
    """The other one; differences are of this one minus the first."""
    tasks: str = ""
    """Names with commas between, or FILE.py; of finished evaluations, all that they have in common unless said."""
    shots: str = "0"
    """How many examples are shown before each item of models; numbers with commas between."""
    data: Path | None = None
    """Folder with the tasks' files; $ENSUE_DATA, or data, unless said."""
    out: Path | None = None
    """Folder for comparison.json and flips/; in comparisons, named by both, unless said."""
    limit: int | None = None
    """So many items of each task, drawn with the seed, instead of all."""
    seed: int = 0
    """Of all that is drawn."""
    same_shots: bool = False
    """The same examples before all items, instead of a draw for each."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the weights."""
    json: bool = False
    """Print JSON for a program to read."""

    def start(self) -> None:
        import json

        from ensue.evaluate.builtin import BUILT_IN
        from ensue.evaluate.user_tasks import chosen_tasks
        from ensue.recipes.display import Display
        from ensue.recipes.evaluating.comparing import as_table, compare_evaluations, in_words
        from ensue.recipes.evaluating.evaluating import Question
        from ensue.recipes.evaluating.models import evaluation_of

        display = Display(to_stderr=True)
        tasks = tuple(chosen_tasks(_names(self.tasks), tell=display.say)) if self.tasks else ()
        question = Question(
            tasks,
            data_folder(self.data),
            shots=_counts(self.shots),
            limit=self.limit,
            seed=self.seed,
            same_shots=self.same_shots,
        )
        first, second = (
            evaluation_of(model, question, device=self.device, dtype=self.dtype, display=display)
            for model in (self.first, self.second)
        )
        names = [task.name for task in tasks]
        folder, told = compare_evaluations(
            first, second, self.out, names=names, tasks=tasks or BUILT_IN, seed=self.seed
        )
        if self.json:
            print(json.dumps(told))
            return
        Display().show(as_table(told))
        display.say(f"\n{in_words(told)}\nin {folder}: comparison.json, and in flips/ each item that flipped")


def _show_tasks(names: str, data: Path, *, as_json: bool) -> None:
    import json

    from ensue.evaluate.builtin import BUILT_IN
    from ensue.evaluate.user_tasks import chosen_tasks
    from ensue.recipes.display import Display
    from ensue.recipes.evaluating.listing import as_table, described, list_tasks

    display = Display(to_stderr=True)
    tasks = chosen_tasks(_names(names), tell=display.say) if names else BUILT_IN
    listed = list_tasks(tasks, data)
    if as_json:
        print(json.dumps(described(listed)))
    else:
        Display().show(as_table(listed, data))


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
