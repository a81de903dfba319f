"""Verbs that repeat a paper's experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand


@dataclass(frozen=True)
class FinetuneAblation:
    """GPT's ablation of fine-tuning (2018, table 5 and figure 2) at a small size, with BERT's objective beside it.

    Pre-trains two models of one size on TEXT for as many steps, GPT's objective and BERT's, then tunes them on labelled
    sets: with and without the auxiliary loss, without pre-training, with some of the layers. Stop it when you like: the
    same command goes on where it was.

      ensue study finetune-ablation books/ --sets-in tasks/ --out studies/ablation
      ensue study finetune-ablation books/ --sets-in tasks/ --out studies/quick --steps 500 --seeds 2 --tasks sst2
    """

    text: Positional[tuple[Path, ...]]
    """Files or folders of text, or one folder made by `ensue prepare`."""
    sets_in: Path
    """Folder with rocstories_val, rocstories_test, sst2_train, sst2_dev, rte_train and rte_test (.jsonl, .csv ...)."""
    out: Path
    """Folder of the study: models, trials, results.json, a table and pictures."""
    tasks: tuple[str, ...] = ("rocstories", "sst2", "rte")
    """Which labelled sets."""
    seeds: int = 3
    """Tuned models of each condition; more can be added later."""
    conditions: tuple[str, ...] = ()
    """Only these: full, no-auxiliary, no-pretraining, layers-0 and so on, bert."""
    minutes: float | None = None
    """Time for each pre-training, instead of --steps: timed here once, with as many steps for both."""
    steps: int = 4000
    """Steps of each pre-training."""
    batch: int = 16
    """Sequences of a step."""
    lr: float = 1e-3
    """Peak learning rate of pre-training."""
    layers: int = 4
    """Of both models, whose parts are GPT's (2018)."""
    width: int = 256
    """Of both models."""
    heads: int = 4
    """Of both models."""
    context: int = 256
    """Of both models, in tokens."""
    vocab: int = 4096
    """Size of the tokenizer to train."""
    rates: tuple[float, ...] = (3e-4, 1e-3)
    """Learning rates of tuning, of which each set's validation rows choose one for all conditions."""
    dropout: float = 0.0
    """Of tuning; the paper's is 0.1, which takes twice the time on a CPU."""
    train_limit: int | None = 1500
    """Rows of a set to tune on, at most."""
    test_limit: int | None = None
    """Rows of a set to test on, at most."""

    def start(self) -> None:
        from ensue.recipes.display import Display
        from ensue.recipes.studies.ablation import run_ablation
        from ensue.recipes.studies.findings import as_table
        from ensue.recipes.studies.pretraining import steps_in
        from ensue.recipes.studies.settings import AblationSettings

        settings = AblationSettings(
            texts=tuple(str(path.resolve()) for path in self.text),
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            context=self.context,
            vocab=self.vocab,
            steps=self.steps,
            batch=self.batch,
            lr=self.lr,
            rates=self.rates,
            dropout=self.dropout,
            train_limit=self.train_limit,
            test_limit=self.test_limit,
        )
        display = Display()
        found = run_ablation(
            steps_in(self.minutes, settings, self.out, display=display),
            self.sets_in,
            self.out,
            sets=self.tasks,
            seeds=self.seeds,
            only=self.conditions,
            display=display,
        )
        display.heading("what came out")
        display.say(as_table(found))
        display.say(f"{self.out}: results.json, results.md, layers.png, differences.png")


@dataclass(frozen=True)
class ShowStudy:
    """Print a study's table as far as it has come.

    ensue study show studies/ablation
    """

    path: Positional[Path]
    """The study's folder."""

    def start(self) -> None:
        table = self.path / "results.md"
        if not table.is_file():
            raise ValueError(f"{self.path} has no results yet; a study writes them when its first seed is done.")
        print(table.read_text(encoding="utf-8"), end="")


@dataclass(frozen=True)
class Study:
    """Repeat a paper's experiment at a small size, with seeds and intervals.

    Each study shows its options: ensue study finetune-ablation --help

      ensue study finetune-ablation books/ --sets-in tasks/ --out studies/ablation
      ensue study show studies/ablation
    """

    action: (
        Annotated[FinetuneAblation, subcommand("finetune-ablation", prefix_name=False)]
        | Annotated[ShowStudy, subcommand("show", prefix_name=False)]
    )

    def start(self) -> None:
        self.action.start()
