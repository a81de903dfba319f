"""The verbs of evaluation: `ensue evaluate`, `ensue compare` of two models, and `ensue probe`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from ensue.evaluate.task import Task
    from ensue.recipes.display import Display
    from ensue.recipes.evaluating.evaluating import Question


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What models are asked, and how they are opened: options of `evaluate` and `compare`."""

    tasks: str = ""
    """Names with commas between; FILE.py runs that Python file and takes its TASKS."""
    shots: str = "0"
    """How many examples are shown before each item; several with commas between give a curve."""
    data: Path | None = None
    """Folder with the tasks' files; $ENSUE_DATA, or data, unless said."""
    limit: int | None = None
    """So many items of each task, drawn with the seed, instead of all."""
    seed: int = 0
    """Of the examples, of what --limit draws, of samples and of resampled items."""
    same_shots: bool = False
    """The same examples before all items, instead of a draw for each."""
    greedy: bool = False
    """Write free answers greedily where a task searches with beams, which servers cannot."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the weights."""
    tokenizer: Path | None = None
    """Of a served model, NAME@URL: folder of its tokenizer, so that ids are sent and counted."""
    window: int | None = None
    """Of a served model: tokens that it reads; asked of the server unless said."""
    json: bool = False
    """Print JSON for a program to read."""

    def question(self, tasks: Sequence[Task]) -> Question:
        """These tasks, as the options say."""
        from ensue.recipes.evaluating.evaluating import Question

        return Question(
            _written_as(tasks, greedy=self.greedy),
            data_folder(self.data),
            shots=_counts(self.shots),
            limit=self.limit,
            seed=self.seed,
            same_shots=self.same_shots,
        )


@dataclass(frozen=True)
class Evaluate(Asking):
    """Measure a model on tasks asked as text: zero-, one- and few-shot, with intervals, every item written down.

    The folder has results.json, table.md, curve.png where several numbers of shots were asked for, and each item with
    the exact text sent. Give the same command again after it was stopped, and it goes on.

      ensue evaluate runs/demo --tasks rocstories --shots 0,1,5 --data tasks/
      ensue evaluate --list --data tasks/
    """

    model: Positional[str | None] = None
    """A run, a checkpoint, a Hugging Face folder, a Hub name, or NAME@URL of a completions server."""
    out: Path | None = None
    """Folder to write; in evaluations, named by model and settings, unless said."""
    against: Path | None = None
    """Training text to look for the items in: a run, prepared data, a corpus, or files and folders of text."""
    list: bool = False
    """Show all tasks: what they measure, and whether their files are there."""

    def start(self) -> None:
        import json

        from ensue.evaluate.user_tasks import chosen_tasks
        from ensue.recipes.display import Display
        from ensue.recipes.evaluating.evaluating import evaluate
        from ensue.recipes.evaluating.models import open_scorer
        from ensue.recipes.evaluating.tables import as_table

        display = Display(to_stderr=True)
        if self.list:
            _show_tasks(self.tasks, data_folder(self.data), as_json=self.json)
            return
        if self.model is None:
            raise ValueError("say what to measure: ensue evaluate runs/demo --tasks rocstories --data tasks/")
        question = self.question(chosen_tasks(_names(self.tasks), tell=display.say))
        scorer = open_scorer(
            self.model, device=self.device, dtype=self.dtype, tokenizer=self.tokenizer, window=self.window
        )
        folder, told = evaluate(scorer, question, self.out, display=display)
        if self.json:
            if self.against is not None:
                told = {**told, "contamination": _contamination(folder, self.against, question, display)}
            print(json.dumps(told))
            return
        Display().show(as_table(told))
        display.say(f"in {folder}: results.json, table.md, items/{', curve.png' if len(question.shots) > 1 else ''}")
        if self.against is not None:
            _show_contamination(folder, self.against, question, display)


@dataclass(frozen=True)
class Compare(Asking):
    """Compare two models on the same items: differences with paired intervals, and the items that flipped.

    A and B are models, which are evaluated where the same evaluation is not in evaluations/ yet, or the folders of two
    finished evaluations, of which all tasks that both have are compared unless --tasks says which.

      ensue compare runs/small runs/large --tasks rocstories,lambada --data tasks/
      ensue compare evaluations/a evaluations/b --out comparisons/a-and-b
    """

    first: Positional[str]
    """A model, or a finished evaluation's folder."""
    second: Positional[str]
    """The other one; differences are of this one minus the first."""
    out: Path | None = None
    """Folder for comparison.json and flips/; in comparisons, named by both, unless said."""

    def start(self) -> None:
        import json

        from ensue.evaluate.builtin import BUILT_IN
        from ensue.evaluate.user_tasks import chosen_tasks
        from ensue.recipes.display import Display
        from ensue.recipes.evaluating.comparing import as_table, compare_evaluations, in_words
        from ensue.recipes.evaluating.models import evaluation_of

        display = Display(to_stderr=True)
        question = self.question(chosen_tasks(_names(self.tasks), tell=display.say) if self.tasks else [])
        first, second = (
            evaluation_of(
                model,
                question,
                device=self.device,
                dtype=self.dtype,
                tokenizer=self.tokenizer,
                window=self.window,
                display=display,
            )
            for model in (self.first, self.second)
        )
        names = [task.name for task in question.tasks]
        folder, told = compare_evaluations(
            first, second, self.out, names=names, tasks=question.tasks or BUILT_IN, seed=self.seed
        )
        if self.json:
            print(json.dumps(told))
            return
        Display().show(as_table(told))
        display.say(f"\n{in_words(told)}\nin {folder}: comparison.json, and in flips/ each item that flipped")


@dataclass(frozen=True)
class Probe:
    """Report what a model associates with groups of people, after GPT-3's section 6.2, and what that cannot tell.

    Occupations and gender, pronouns where Winogender is in DATA, words of groups and how pleasant they are.

      ensue probe runs/books --out probes/books --data tasks/
    """

    model: Positional[str]
    """A run, a checkpoint, a Hugging Face folder or a Hub name."""
    out: Path
    """Folder for probes.md, probes.json and occupations.png; it must not exist."""
    data: Path | None = None
    """Folder that may hold winogender.jsonl; $ENSUE_DATA, or data, unless said."""
    samples: int = 100
    """Texts to write for each prompt; the paper wrote 800."""
    seed: int = 0
    """Of what is written."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the weights."""

    def start(self) -> None:
        from ensue.recipes.display import Display
        from ensue.recipes.evaluating.models import open_scorer
        from ensue.recipes.evaluating.probing import probe

        display = Display()
        scorer = open_scorer(self.model, device=self.device, dtype=self.dtype)
        data = data_folder(self.data)
        probe(scorer, self.model, self.out, data=data, samples=self.samples, seed=self.seed, display=display)
        display.say((self.out / "probes.md").read_text(encoding="utf-8"))
        display.say(f"in {self.out}: probes.md, probes.json, occupations.png")


def _show_contamination(folder: Path, against: Path, question: Question, display: Display) -> None:
    from ensue.recipes.evaluating.contamination import as_table

    told = _contamination(folder, against, question, display)
    display.show(as_table(told))
    display.say(f"in {folder}: contamination.json, with each dirty item's words and where they stand")


def _contamination(folder: Path, against: Path, question: Question, display: Display) -> dict[str, Any]:
    from ensue.evaluate.paired import open_evaluation
    from ensue.recipes.evaluating.contamination import find_contamination

    return find_contamination(open_evaluation(folder), against, question.tasks, seed=question.seed, display=display)


def _show_tasks(names: str, data: Path, *, as_json: bool) -> None:
    import json

    from ensue.evaluate.builtin import BUILT_IN
    from ensue.evaluate.user_tasks import chosen_tasks
    from ensue.recipes.display import Display
    from ensue.recipes.evaluating.listing import as_table, described, in_words, list_tasks

    display = Display(to_stderr=True)
    tasks = chosen_tasks(_names(names), tell=display.say) if names else BUILT_IN
    listed = list_tasks(tasks, data)
    if as_json:
        print(json.dumps(described(listed)))
    elif names:
        print(in_words(listed, data))
    else:
        Display().show(as_table(listed, data))
        display.say("of one of them: ensue evaluate --list --tasks NAME")


def _written_as(tasks: Sequence[Task], *, greedy: bool) -> tuple[Task, ...]:
    """The tasks, with beam searches made greedy where that is asked for."""
    return tuple(
        replace(task, decoding=replace(task.decoding, kind="greedy"))
        if greedy and task.decoding.kind == "beam"
        else task
        for task in tasks
    )


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
