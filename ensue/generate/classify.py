"""What a model that was tuned on a task says: an answer, with probabilities, to a text, a pair, or a context with
choices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from ensue.generate.forward import reading
from ensue.model.gpt import GPT
from ensue.model.patterns import TwoWay
from ensue.model.task_head import TaskModel
from ensue.tokens.examples import Example, in_order_of_length
from ensue.tokens.task_shapes import TaskShape, render, segments_of
from ensue.tokens.tokenizer import Tokenizer

TASK, HEAD = "task.json", "head.safetensors"
"""What a checkpoint has beside a model folder where the model was tuned on a task."""

MICRO_TOKENS = 8192
"""Tokens that are read at a time, padding included."""


@dataclass(frozen=True)
class Tuned:
    """What a model was tuned on, and the model with its head; its GPT is the one that writes."""

    model: TaskModel
    shape: TaskShape


@dataclass(frozen=True)
class Answer:
    """The likeliest answer, and the probability of each.

    The label is a class as the table named it (always text), the place of a choice counted from 0, or, of a similarity
    with a scale, the expected score, whose probabilities are those of the whole numbers.
    """

    label: str | int | float
    probabilities: Mapping[str | int, float]


def load_tuned(folder: Path, gpt: GPT) -> Tuned | None:
    """The head and the task in a model folder, None where it has none. Raises ValueError, naming the file, for one that
    is damaged or belongs to another model."""
    if not (folder / TASK).is_file():
        return None
    try:
        shape = TaskShape.from_json(json.loads((folder / TASK).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder / TASK} is damaged ({error}); use another checkpoint of the run.") from error
    model = TaskModel(gpt, outputs=shape.outputs)
    try:
        model.head.load_state_dict(load_file(folder / HEAD))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{folder / HEAD} is not the head of this model ({error}); use another checkpoint of the run."
        ) from error
    return Tuned(model.eval(), shape)


def classify(
    tuned: Tuned, tokenizer: Tokenizer, inputs: Sequence[tuple[str, str | Sequence[str] | None]]
) -> list[Answer]:
    """The answer to each example, given as `segments_of` takes it.

    Raises ValueError for what does not fit the task, and for a text without tokens.
    """
    shape = tuned.shape
    parts = [segments_of(shape.task, first, second) for first, second in inputs]
    examples = [
        Example(example.rows, np.zeros(shape.outputs if shape.task != "choice" else len(example.rows)), "")
        for example in render(shape, tokenizer, parts)
    ]
    return [_answer(shape, np.exp(logs)) for logs in log_probabilities(tuned.model, examples)]


def log_probabilities(
    model: TaskModel, examples: Sequence[Example], *, micro_tokens: int = MICRO_TOKENS
) -> list[np.ndarray]:
    """(K,) float64 log-probabilities of each example's answers, without dropout; like lengths are read together."""
    found: list[np.ndarray] = [np.empty(0)] * len(examples)
    looks_ahead = sees_ahead(model.gpt)
    device = model.head.weight.device
    was_training = model.training
    model.eval()
    try:
        for numbers, batch in in_order_of_length(examples, micro_tokens=micro_tokens, looks_ahead=looks_ahead):
            there = batch.to(device)
            with reading(model.gpt):
                scores = model(
                    there.tokens,
                    extract=there.extract,
                    example=there.example,
                    place=there.place,
                    answers=batch.answer.shape[1],
                    segments=there.segments,
                )
                logs = scores.double().log_softmax(-1).cpu().numpy()
            for number, row in zip(numbers, logs, strict=True):
                found[number] = row[: len(examples[number].answer)]
    finally:
        model.train(was_training)
    return found


def sees_ahead(gpt: GPT) -> bool:
    """Whether a layer sees what comes later, and so must be told where padding begins."""
    return any(isinstance(pattern, TwoWay) for pattern in gpt.config.patterns)


def _answer(shape: TaskShape, probabilities: np.ndarray) -> Answer:
    shares: list[float] = probabilities.tolist()
    best = int(probabilities.argmax())
    if shape.task == "choice":
        return Answer(best, dict(enumerate(shares)))
    if shape.scale is not None:
        whole = range(shape.scale.low, shape.scale.high + 1)
        return Answer(shape.scale.expected(shares), dict(zip(whole, shares, strict=True)))
    return Answer(shape.labels[best], dict(zip(shape.labels, shares, strict=True)))


def no_head(path: Path) -> ValueError:
    """What to say where a model is asked to classify that was never tuned to."""
    return ValueError(
        f"{path} has no head that classifies: it was not tuned on a task. Type:\n"
        f"  ensue finetune {path} DATA --task classify --run runs/tuned"
    )
