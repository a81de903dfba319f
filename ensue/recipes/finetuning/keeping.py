"""Which checkpoints of a fine-tuning run there are: the newest, and the best by what is validated."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ensue.core.config import to_dict
from ensue.core.run import RunFolder
from ensue.generate.load import RECORD
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.work import Work
from ensue.train.checkpoint import gather
from ensue.train.engine import Engine
from ensue.train.saving import Saver

Rank = tuple[float, float]
NOTHING: Rank = (-math.inf, -math.inf)


class TunedKeeper:
    """Saves checkpoints beside the training and removes those that need not be kept."""

    def __init__(self, run: RunFolder, config: FineTuneConfig, work: Work, engine: Engine) -> None:
        self._run, self._config, self._work, self._engine = run, config, work, engine
        self._saver = Saver(in_background=config.save_in_background, flush=(run.metrics_path,))
        self._last = -1
        self.best = self._best_so_far()
        """How good the best checkpoint was in validation, the more the better, and its step, -1 before there is one."""

    def save(self, step: int) -> None:
        """Begin to save the state after this step. Raises OSError for what went wrong with an earlier one."""
        if step == self._last:
            return
        work, engine = self._work, self._engine
        facts = {"format": 1, "tokenizer": work.identity["tokenizer"], "step": step}
        contents = gather(
            engine,
            step=step,
            model_files={**work.files, RECORD: (json.dumps(facts) + "\n").encode()},
            model_tensors=work.tensors(),
            record={"config": to_dict(self._config), "data": dict(work.identity)},
        )
        self._saver.save(contents, self._run.checkpoint_path(step), step)
        self._last = step
        self.collect()

    def collect(self) -> None:
        """Take note of what has become whole. Raises OSError where writing failed."""
        for saved in self._saver.finished():
            self._run.tell("saved", saved.step, saved.seconds)
            self._tidy()

    def wait(self) -> None:
        """Return when nothing is being written any more. Raises OSError where writing failed."""
        try:
            self._saver.wait()
        finally:
            self.collect()

    def validated(self, step: int, found: Mapping[str, float]) -> None:
        """Keep the checkpoint of this step if it is the best so far, and make one if there is none."""
        rank = self._rank(found)
        if not rank > self.best[0]:
            return
        self.best = (rank, step)
        if self._run.checkpoint_path(step).is_dir():
            self._last = step
            self._tidy()
        else:
            self.save(step)

    def starts_at(self, step: int) -> None:
        """Take the checkpoint of `step`, from which the run goes on, for the last that was saved."""
        self._last = step
        self.best = self._best_so_far()

    def _rank(self, found: Mapping[str, float]) -> Rank:
        """The metric, and among equals the lower loss."""
        return (-found["loss"] if self._work.metric == "loss" else found[self._work.metric], -found["loss"])

    def _best_so_far(self) -> tuple[Rank, int]:
        there = {int(path.name) for path in self._run.checkpoints()}
        read = [row for row in self._run.rows() if "val_loss" in row and row["step"] in there]
        ranked = [(self._rank(without_prefix(row)), row["step"]) for row in read]
        return max(ranked, key=lambda entry: (entry[0], -entry[1]), default=(NOTHING, -1))

    def _tidy(self) -> None:
        if (best := self._run.checkpoint_path(self.best[1])).is_dir():
            self._run.point("best", best)
        self._run.keep(self._config.keep_checkpoints)


def without_prefix(row: Mapping[str, Any]) -> dict[str, float]:
    """A reading as metrics.jsonl has it (`val_loss`), by the names it was read under."""
    return {name.removeprefix("val_"): value for name, value in row.items() if name.startswith("val_")}
