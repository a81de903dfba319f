"""`ensue study finetune-ablation`: GPT's ablation of fine-tuning, and BERT's objective beside it, at a small size."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ensue.core.config import suggest, to_dict
from ensue.core.files import write_file_aside
from ensue.core.lock import locked
from ensue.model.weights import load_config
from ensue.recipes.display import Display
from ensue.recipes.failure import RunFailed
from ensue.recipes.studies.conditions import FULL, NO_PRETRAINING, Condition, conditions
from ensue.recipes.studies.findings import SetFindings, as_json, as_table, findings_of
from ensue.recipes.studies.labelled_sets import SetFiles, labelled_set, write_parts
from ensue.recipes.studies.pictures import draw_differences, draw_layers
from ensue.recipes.studies.pretraining import held_out_reading, pretrain
from ensue.recipes.studies.settings import AblationSettings, keep_settings
from ensue.recipes.studies.trials import Trial, read_trial, run_trial, trial_path

CHOOSE_BY = (FULL, NO_PRETRAINING)
"""The rate is the one whose mean over both is highest, so that neither has one of its own."""

STOPPED = (130, 143)
"""Exit codes of Ctrl-C and SIGTERM."""


def run_ablation(
    settings: AblationSettings,
    files: Path,
    out: Path,
    *,
    sets: Sequence[str],
    seeds: int,
    only: Sequence[str] = (),
    display: Display,
) -> list[SetFindings]:
    """Pre-train both models, tune them under every condition (or those of `only`) with so many seeds, and write
    results.json, results.md and pictures into `out`. What is finished there is not done again.

    Raises ValueError for a set or condition that there is not, and for other settings than `out` was begun with.
    """
    chosen = [labelled_set(name) for name in sets]
    wanted = _wanted(settings.layers, only)
    if seeds < 1:
        raise ValueError(f"--seeds {seeds} is none at all; an interval needs 3 or so.")
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        keep_settings(settings, out)
        parts = [
            write_parts(
                each,
                files,
                out / "sets" / each.name,
                train_limit=settings.train_limit,
                test_limit=settings.test_limit,
            )
            for each in chosen
        ]
        study = _Study(settings, parts, wanted, seeds, out, display)
        try:
            return study.run()
        except RunFailed as error:
            if error.code in STOPPED:
                raise RunFailed(
                    f"stopped. To go on, give the same command again: what {out} has is kept.", error.code
                ) from error
            raise


class _Study:
    """A study at work."""

    def __init__(
        self,
        settings: AblationSettings,
        parts: Sequence[SetFiles],
        wanted: Sequence[Condition],
        seeds: int,
        out: Path,
        display: Display,
    ) -> None:
        self.settings, self.parts, self.wanted, self.seeds = settings, parts, wanted, seeds
        self.out, self.display = out, display
        self.pretrained: dict[str, Path] = {}
        self.spent: list[float] = []

    def run(self) -> list[SetFindings]:
        """All of it, told after each seed."""
        self.pretrain()
        self.display.heading(f"tuning: {self._left()} trials to go")
        if len(self.settings.rates) > 1:
            self.choose_rates()
        found: list[SetFindings] = []
        for seed in range(self.seeds):
            for each in self.parts:
                for condition in self.wanted:
                    self.trial(each, condition, seed, self._rate(each))
            found = self.report()
        return found

    def pretrain(self) -> None:
        """The models that the wanted conditions begin with; GPT's is the pattern of those that begin with nothing."""
        for objective in dict.fromkeys(("gpt", *(each.start for each in self.wanted))):
            if objective == "gpt" or objective == "bert":
                self.display.heading(f"pre-training: {objective}")
                self.pretrained[objective] = pretrain(self.settings, objective, self.out, display=self.display)

    def choose_rates(self) -> None:
        """The learning rate of each set that its rows to choose by prefer, with the first seed."""
        for each in self.parts:
            for rate in self.settings.rates:
                for condition in CHOOSE_BY:
                    self.trial(each, condition, 0, rate)
            told = ", ".join(f"{rate:g} {100 * value:.1f}%" for rate, value in self._by_rate(each).items())
            self.display.say(f"{each.known.name}: learning rate {self._rate(each):g} (validation: {told})")

    def trial(self, parts: SetFiles, condition: Condition, seed: int, rate: float) -> Trial:
        """A trial, as it was found or made now."""
        known = read_trial(trial_path(self.out, parts.known.name, condition, seed, rate))
        if known is not None:
            return known
        began = time.monotonic()
        made = run_trial(
            self.settings, parts, condition, seed=seed, rate=rate, pretrained=self.pretrained, out=self.out
        )
        self.spent.append(time.monotonic() - began)
        left = self._left()
        minutes = left * sum(self.spent) / len(self.spent) / 60
        self.display.say(
            f"{parts.known.name}, {condition.name}, seed {seed}, rate {rate:g}: validation {100 * made.valid:.1f}%, "
            f"test {100 * made.accuracy:.1f}% in {made.seconds:.0f} s; {left} left, about {minutes:.0f} minutes"
        )
        return made

    def report(self) -> list[SetFindings]:
        """Write down what is known so far."""
        layers = self.settings.layers
        found = [
            findings_of(each, layers, self._trials(each), rate=self._rate(each), rates=self._by_rate(each))
            for each in self.parts
        ]
        record = as_json(found, to_dict(self.settings), self._models())
        write_file_aside(self.out / "results.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        write_file_aside(self.out / "results.md", as_table(found))
        draw_layers(found, layers, self.out / "layers.png")
        draw_differences(found, self.out / "differences.png")
        return found

    def _left(self) -> int:
        """How many trials there are still to be made."""
        paths: set[Path] = set()
        unknown = 0
        rates = self.settings.rates
        for parts in self.parts:
            name = parts.known.name
            choosing = rates if len(rates) > 1 else ()
            paths |= {trial_path(self.out, name, each, 0, rate) for rate in choosing for each in CHOOSE_BY}
            if len(rates) > 1 and len(self._by_rate(parts)) < len(rates):
                unknown += len(self.wanted) * self.seeds - sum(each in self.wanted for each in CHOOSE_BY)
                continue
            for seed in range(self.seeds):
                paths |= {trial_path(self.out, name, each, seed, self._rate(parts)) for each in self.wanted}
        return unknown + sum(not path.is_file() for path in paths)

    def _rate(self, parts: SetFiles) -> float:
        """The learning rate that the set's rows to choose by prefer, of those that were tried."""
        by_rate = self._by_rate(parts)
        return max(by_rate, key=lambda rate: by_rate[rate]) if len(self.settings.rates) > 1 else self.settings.rates[0]

    def _by_rate(self, parts: SetFiles) -> Mapping[float, float]:
        """Mean validation accuracy of what the rate is chosen by, with each rate that was tried."""
        found: dict[float, float] = {}
        for rate in self.settings.rates:
            paths = [trial_path(self.out, parts.known.name, each, 0, rate) for each in CHOOSE_BY]
            tried = [trial for trial in map(read_trial, paths) if trial is not None]
            if len(tried) == len(CHOOSE_BY):
                found[rate] = sum(trial.valid for trial in tried) / len(tried)
        return found

    def _trials(self, parts: SetFiles) -> list[Trial]:
        paths = sorted((self.out / "trials" / parts.known.name).rglob("seed-*.json"))
        return [trial for trial in map(read_trial, paths) if trial is not None]

    def _models(self) -> dict[str, Any]:
        return {
            objective: {"parameters": load_config(run / "final").parameters, **held_out_reading(run)}
            for objective, run in self.pretrained.items()
        }


def _wanted(layers: int, only: Sequence[str]) -> list[Condition]:
    known = {each.name: each for each in conditions(layers)}
    for name in only:
        if name not in known:
            raise ValueError(f"there is no condition {name!r} in this study{suggest(name, known)}")
    return [each for each in known.values() if not only or each.name in only]
