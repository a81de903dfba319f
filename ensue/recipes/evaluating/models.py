"""From what a user types to a scorer, or to a finished evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ensue.evaluate.local import LocalScorer
from ensue.evaluate.paired import Evaluation, is_evaluation, open_evaluation
from ensue.evaluate.scorer import Scorer
from ensue.generate.load import load
from ensue.recipes.display import Display
from ensue.recipes.evaluating.evaluating import Question, evaluate

Precision = Literal["fp32", "bf16"]


def open_scorer(model: str, *, device: str = "auto", dtype: Precision = "fp32") -> Scorer:
    """A run, a checkpoint, a Hugging Face folder or a Hub name, loaded to be asked."""
    return LocalScorer(load(model, device=device, dtype=dtype))


def evaluation_of(name: str, question: Question, *, device: str, dtype: Precision, display: Display) -> Evaluation:
    """The finished evaluation in the folder `name`, or that of the model `name`, which is measured where it was not."""
    if is_evaluation(Path(name)):
        return open_evaluation(Path(name))
    if not question.tasks:
        raise ValueError(f"{name} is no finished evaluation; say what to measure it on: --tasks rocstories")
    folder, told = evaluate(open_scorer(name, device=device, dtype=dtype), question, None, display=display)
    return Evaluation(folder, told)
