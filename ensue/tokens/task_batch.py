"""A micro-batch of labelled examples, each one row or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

# Legend: R rows, T tokens of the longest row, E examples, K classes or the most choices.


@dataclass(frozen=True)
class TaskBatch:
    """Rows of E examples, those of an example one after another, filled up on the right.

    tokens   (R, T) int64
    targets  (R, T) int64, the token that ensues at each position
    weights  (R, T) float32, 1 where the target is one of the row's own tokens (up to and with extract), 0 at padding
    extract  (R,) int64, where the row's extract token stands
    example  (R,) int64, which example a row is of
    place    (R,) int64, which of that example's rows it is
    answer   (E, K) float32, the share of each answer in what is right; of choices there may be fewer than K
    segments (R, T) int32, 1 at padding, where a model that looks ahead must not see it; None where none does
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    extract: Tensor
    example: Tensor
    place: Tensor
    answer: Tensor
    segments: Tensor | None = None

    @property
    def examples(self) -> int:
        return self.answer.shape[0]

    def to(self, device: torch.device) -> TaskBatch:
        """The same batch on another device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        there = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items() if tensor is not None}
        return replace(self, **there)


def task_batch(rows: Sequence[Sequence[np.ndarray]], answers: Sequence[np.ndarray], *, looks_ahead: bool) -> TaskBatch:
    """The batch of examples, each given as its rows of tokens and the share of each answer in what is right.

    `looks_ahead` says that the model sees what comes later, so that it must be told where padding begins.
    """
    flat = [row for example in rows for row in example]
    length = max(map(len, flat))
    ids = np.zeros((len(flat), length + 1), np.int64)
    weights = np.zeros((len(flat), length), np.float32)
    for number, row in enumerate(flat):
        ids[number, : len(row)] = row
        weights[number, : len(row) - 1] = 1
    answer = np.zeros((len(rows), max(map(len, answers))), np.float32)
    for number, shares in enumerate(answers):
        answer[number, : len(shares)] = shares
    sizes = [len(row) for row in flat]
    padding = (np.arange(length) >= np.array(sizes)[:, None]).astype(np.int32)
    return TaskBatch(
        tokens=torch.from_numpy(np.ascontiguousarray(ids[:, :-1])),
        targets=torch.from_numpy(np.ascontiguousarray(ids[:, 1:])),
        weights=torch.from_numpy(weights),
        extract=torch.tensor(sizes) - 1,
        example=torch.tensor([number for number, example in enumerate(rows) for _ in example]),
        place=torch.tensor([place for example in rows for place in range(len(example))]),
        answer=torch.from_numpy(answer),
        segments=torch.from_numpy(padding) if looks_ahead else None,
    )
