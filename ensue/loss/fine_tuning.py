"""GPT's fine-tuning objective (2018, equation 5): L3 = L2 + lambda L1, the task's loss and a share of the text's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ensue.loss.linear_cross_entropy import linear_cross_entropy
from ensue.loss.types import Loss
from ensue.model.patterns import TwoWay
from ensue.model.task_head import TaskModel
from ensue.tokens.task_batch import TaskBatch

# Legend: R rows, T tokens, W width, E examples, K classes or the most choices.


class FineTuning:
    """Summed over examples: cross-entropy of the answer + `auxiliary` x nats of the example's text.

    The text's nats are the mean over a row's targets, and of that the mean over the example's rows: divided by the
    count of examples, the sum is what the paper's code minimises, however the step is cut into micro-batches. Named
    sums: "task", "language_model", and "correct", the examples whose likeliest answer is the right one. No state.

    `states` computes the (R, T, W) hidden states and is the model's own `hidden` unless a compiled one is given.
    """

    def __init__(self, *, auxiliary: float = 0.5, states: Callable[..., Tensor] | None = None) -> None:
        """Raises ValueError for a negative `auxiliary`, which is lambda; with 0 no logits are computed."""
        if auxiliary < 0:
            raise ValueError(f"--auxiliary {auxiliary} is lambda, the weight of the text's own loss; give 0 or more.")
        self.auxiliary, self.states = auxiliary, states

    def count(self, batch: TaskBatch) -> int:
        """Examples in this batch."""
        return batch.examples

    def loss(self, model: nn.Module, batch: TaskBatch) -> Loss:
        """The sum over this batch. Raises ValueError where `auxiliary` is not 0 and the model sees what comes later."""
        assert isinstance(model, TaskModel)
        hidden = (self.states or model.gpt.hidden)(batch.tokens, segments=batch.segments)  # (R, T, W)
        nats, correct = answer_nats(model, batch, hidden)
        task = nats.sum()
        named = {"task": task, "correct": correct.sum()}
        if not self.auxiliary:
            return Loss(task, batch.examples, named)
        refuse_two_way(model)
        named["language_model"] = text = self._text_nats(model, batch, hidden)
        return Loss(task + self.auxiliary * text, batch.examples, named)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:
            raise ValueError(f"the fine-tuning objective has no state, but the checkpoint holds {sorted(state)}.")

    def _text_nats(self, model: TaskModel, batch: TaskBatch, hidden: Tensor) -> Tensor:
        rows = torch.bincount(batch.example, minlength=batch.examples).to(batch.weights)  # (E,) of each example
        weights = batch.weights / (batch.weights.sum(1) * rows[batch.example])[:, None]  # (R, T)
        flat = hidden.flatten(0, 1)
        return linear_cross_entropy(flat, model.gpt.head_weight, batch.targets.flatten(), weights.flatten())


def answer_nats(model: TaskModel, batch: TaskBatch, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """(E,) cross-entropy of each example's answer in nats, and (E,) 1 where the likeliest answer is the right one."""
    scores = model.answer(
        hidden, extract=batch.extract, example=batch.example, place=batch.place, answers=batch.answer.shape[1]
    )
    logs = scores.log_softmax(-1)  # (E, K)
    answer = batch.answer.to(logs.dtype)
    nats = -(answer * logs.masked_fill(answer == 0, 0.0)).sum(-1)
    correct = (scores.argmax(-1) == batch.answer.argmax(-1)).to(logs.dtype)
    return nats, correct


def refuse_two_way(model: TaskModel) -> None:
    """Raise ValueError where the text's own loss would foretell what the model has seen."""
    if any(isinstance(pattern, TwoWay) for pattern in model.gpt.config.patterns):
        raise ValueError(
            "a model with a two-way pattern sees the tokens that the auxiliary loss has it foretell; type --auxiliary 0"
        )
