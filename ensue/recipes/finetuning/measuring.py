"""What a tuned model makes of labelled examples, in the measures of its task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ensue.generate.classify import MICRO_TOKENS, log_probabilities, no_head
from ensue.generate.lm import LM
from ensue.model.task_head import TaskModel
from ensue.recipes.finetuning import metrics
from ensue.recipes.finetuning.config import Metric
from ensue.recipes.finetuning.labelled import read_part
from ensue.tokens.examples import Example
from ensue.tokens.task_shapes import TaskShape


def measure(lm: LM, path: Path, *, known_in: str = "what it was tuned on") -> dict[str, float]:
    """`readings` of a tuned model on a table of examples, in the columns that it was tuned on, in full precision.

    Raises ValueError for a model that was not tuned, and as `read_part` does.
    """
    if lm.tuned is None:
        raise no_head(lm.path)
    part = read_part(path, lm.tuned.shape, lm.tokenizer, known_in=known_in)
    return readings(lm.tuned.model, lm.tuned.shape, part.examples, micro_tokens=MICRO_TOKENS)


def readings(model: TaskModel, shape: TaskShape, examples: Sequence[Example], *, micro_tokens: int) -> dict[str, float]:
    """What the model makes of labelled examples: nats an example ("loss"), and what the task is measured by."""
    logs = log_probabilities(model, examples, micro_tokens=micro_tokens)
    pairs = list(zip(examples, logs, strict=True))
    nats = [-float(example.answer @ np.where(example.answer > 0, row, 0.0)) for example, row in pairs]
    found = {"loss": float(np.mean(nats))}
    if shape.scale is not None:
        right = [example.score for example in examples if example.score is not None]
        said = [shape.scale.expected(np.exp(row).tolist()) for row in logs]
        return {**found, "pearson": metrics.pearson(right, said), "spearman": metrics.spearman(right, said)}
    truth, answers = [int(example.answer.argmax()) for example in examples], [int(row.argmax()) for row in logs]
    found["accuracy"] = metrics.accuracy(truth, answers)
    if shape.task != "choice":
        classes = len(shape.labels)
        found["f1"] = metrics.f1(truth, answers, classes=classes)
        found["matthews"] = metrics.matthews(truth, answers, classes=classes)
    return found


def metric_of(said: Metric, shape: TaskShape) -> str:
    """The name of the reading that decides which model is the best. Raises ValueError for one that this task does not
    have."""
    if shape.scale is not None:
        known = ["pearson", "spearman", "loss"]
    else:
        known = ["accuracy", "loss"] if shape.task == "choice" else ["accuracy", "f1", "matthews", "loss"]
    if said == "auto":
        return known[0]
    if said not in known:
        raise ValueError(f"--metric {said} cannot be had of this task; it has {', '.join(known)}.")
    return said
