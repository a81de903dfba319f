"""One tuned model of a study: made, tested on every item, written down, and thrown away."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ensue.core.device import autocast, choose_device, choose_precision
from ensue.core.files import write_file_aside
from ensue.core.seeds import seed_for
from ensue.generate.classify import log_probabilities
from ensue.generate.load import load
from ensue.model.gpt import GPT
from ensue.model.layer_transfer import with_first_layers
from ensue.model.weights import save_model
from ensue.recipes.display import Display
from ensue.recipes.finetuning.config import FineTuneConfig, paper_optimizer
from ensue.recipes.finetuning.start import finetune
from ensue.recipes.finetuning.task_work import labelled_for
from ensue.recipes.studies.conditions import Condition
from ensue.recipes.studies.labelled_sets import SetFiles
from ensue.recipes.studies.settings import AblationSettings


@dataclass(frozen=True)
class Trial:
    """What came out: `correct` has a 1 for each test item that the model got right, in the file's order, else 0.

    `valid` and `valid_loss` are the accuracy and nats of the rows to choose by at the best epoch, whose weights were
    tested.
    """

    set: str
    condition: str
    seed: int
    rate: float
    valid: float
    valid_loss: float
    correct: str
    seconds: float

    @property
    def accuracy(self) -> float:
        return self.correct.count("1") / len(self.correct)

    @property
    def items(self) -> np.ndarray:
        """(N,) 1.0 where an item was right."""
        return np.array([float(digit) for digit in self.correct])


def trial_path(out: Path, set_name: str, condition: Condition, seed: int, rate: float) -> Path:
    return out / "trials" / set_name / condition.name / f"seed-{seed}-rate-{rate:g}.json"


def read_trial(path: Path) -> Trial | None:
    """A trial that was finished before."""
    return Trial(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def run_trial(
    settings: AblationSettings,
    parts: SetFiles,
    condition: Condition,
    *,
    seed: int,
    rate: float,
    pretrained: Mapping[str, Path],
    out: Path,
) -> Trial:
    """Tune as the condition says, test the best epoch, write the trial down, and keep no weights."""
    began = time.monotonic()
    work = out / "work"
    shutil.rmtree(work, ignore_errors=True)  # of a trial that was killed
    config = FineTuneConfig(
        task=parts.known.task,
        model=str(starting_model(condition, pretrained, work / "start", seed=seed)),
        data=str(parts.train),
        valid=str(parts.valid),
        optimizer=paper_optimizer(lr=rate),
        epochs=settings.epochs,
        batch=settings.tune_batch,
        auxiliary=condition.auxiliary,
        dropout=settings.dropout,
        seed=seed,
    )
    result = finetune(config, work / "run", display=Display(quiet=True))
    trial = Trial(
        set=parts.known.name,
        condition=condition.name,
        seed=seed,
        rate=rate,
        valid=result.best_readings["accuracy"],
        valid_loss=result.best_readings["loss"],
        correct=_test(config, result.best, parts.test),
        seconds=round(time.monotonic() - began, 1),
    )
    path = trial_path(out, parts.known.name, condition, seed, rate)
    write_file_aside(path, json.dumps(asdict(trial)) + "\n")
    shutil.rmtree(work)
    return trial


def starting_model(condition: Condition, pretrained: Mapping[str, Path], folder: Path, *, seed: int) -> Path:
    """Where the weights are that the condition begins with; those that are drawn anew are drawn from the seed."""
    if condition.start != "nothing" and condition.layers is None:
        return pretrained[condition.start]
    lm = load(pretrained["gpt"], device="cpu")
    drawn = seed_for(seed, "starting model")
    if condition.start == "nothing":
        model = GPT.build(lm.config, drawn)
    else:
        assert condition.layers is not None
        model = with_first_layers(lm.model, condition.layers, seed=drawn)
    save_model(model, folder, end_token=lm.tokenizer.end)
    lm.tokenizer.save(folder)
    return folder


def _test(config: FineTuneConfig, checkpoint: Path, table: Path) -> str:
    """A digit for each row of the table, read as validation rows are while a model is tuned."""
    lm = load(checkpoint, device=config.device)
    assert lm.tuned is not None
    labelled = labelled_for(replace(config, valid=str(table)), lm)
    assert labelled.valid is not None
    device = choose_device(config.device)
    with autocast(device, choose_precision(config.precision, device)):
        logs = log_probabilities(lm.tuned.model, labelled.valid.examples, micro_tokens=config.micro_tokens)
    right = [int(example.answer.argmax()) for example in labelled.valid.examples]
    return "".join(str(int(int(row.argmax()) == place)) for row, place in zip(logs, right, strict=True))
