"""Which checkpoints of a run there are: the newest, the best, and the one it may have to go back to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ensue.core.run import RunFolder, read_rows
from ensue.core.tensor_file import digest_of
from ensue.recipes.parts import WEIGHTS, Parts, checkpoint_contents, tokenizer_files
from ensue.recipes.run_log import RunLog
from ensue.train.checkpoint import OPTIMIZER
from ensue.train.saving import Saver


class Keeper:
    """Saves checkpoints beside the training and removes those that need not be kept."""

    def __init__(self, run: RunFolder, parts: Parts, log: RunLog, record: Callable[[], dict[str, Any]]) -> None:
        """`record` is what the run itself needs to continue from a checkpoint that is taken now."""
        self._run, self._parts, self._log, self._record = run, parts, log, record
        self._tokenizer = tokenizer_files(parts.data.tokenizer)
        rows = (run.metrics_path, run.receipts_path)
        self._saver = Saver(in_background=parts.config.save_in_background, flush=rows)
        self._heads: dict[int, str] = {}
        self._last = -1
        self.best = self._best_so_far() if parts.config.keep_best else None
        """The lowest held-out loss along the way and its step, -1 before there is one; None where none is kept."""

    def save(self, step: int) -> None:
        """Begin to save the state after this step. Raises OSError for what went wrong with an earlier one."""
        if step == self._last:
            return
        head = self._log.receipts.head
        record = {**self._record(), "receipts": head}
        contents = checkpoint_contents(self._parts, step, tokenizer=self._tokenizer, record=record)
        self._saver.save(contents, self._run.checkpoint_path(step), step)
        self._heads[step], self._last = head, step
        self.collect()

    def collect(self) -> None:
        """Take note of what has become whole. Raises OSError where writing failed."""
        for saved in self._saver.finished():
            marks = {name: list(digest.marks) for name, digest in saved.digests.items()}
            self._log.receipts.add_leaf({"step": saved.step, "saved": marks}, on=self._heads.pop(saved.step))
            self._run.tell("saved", saved.step, saved.seconds)
            self._tidy()

    def wait(self) -> None:
        """Return when nothing is being written any more. Raises OSError where writing failed."""
        try:
            self._saver.wait()
        finally:
            self.collect()

    def held_out(self, step: int, loss: float) -> None:
        """Keep the checkpoint of this step if it is the best so far, and make one if there is none."""
        if self.best is None or not loss < self.best[0]:
            return
        self.best = (loss, step)
        if self._run.checkpoint_path(step).is_dir():
            self._last = step
            self._tidy()
        else:
            self.save(step)

    def starts_at(self, step: int) -> None:
        """Take the checkpoint of `step`, to which the run has gone back, for the last that was saved."""
        self._last = step
        if self.best is not None:
            self.best = self._best_so_far()
        # A kill may have come between a checkpoint and the note of what is in it.
        if not any("saved" in row and row["step"] == step for row in read_rows(self._run.receipts_path)):
            folder = self._run.checkpoint_path(step)
            marks = {name: list(digest_of(folder / name).marks) for name in (WEIGHTS, OPTIMIZER)}
            self._log.receipts.add_leaf({"step": step, "saved": marks}, on=self._log.receipts.head)

    def back_to(self, index: int) -> int:
        """The step of the newest regular checkpoint before step `index` (counted from 0): the same however often the
        run was stopped and saved in between."""
        every = self._parts.config.save_every
        return index // every * every if every else 0

    def _best_so_far(self) -> tuple[float, int]:
        """The lowest reading whose checkpoint is there."""
        there = {int(path.name) for path in self._run.checkpoints()}
        rows = [row for row in self._run.rows() if "val_loss" in row and "val_tokens" not in row]
        return min(((row["val_loss"], row["step"]) for row in rows if row["step"] in there), default=(math.inf, -1))

    def _tidy(self) -> None:
        """Point `best` at the best, then remove what is neither that, nor new, nor what a rollback would need."""
        if self.best is not None and (best := self._run.checkpoint_path(self.best[1])).is_dir():
            self._run.point("best", best)
        also = [self.back_to(self._last)] if self._parts.config.spikes.action == "rollback" else []
        self._run.keep(self._parts.config.keep_checkpoints, also=also)
