"""`linear_cross_entropy` with the softmax of each chunk in one CPU kernel, in place on its bf16 logits.

The twin of `ensue.loss.linear_cross_entropy` for processors that `ensue.core.native` has kernels for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ensue.core.gradients import give_gradient
from ensue.core.native import Kernels

# Legend: N rows (tokens), n rows of a chunk, W width, V vocabulary.

ROOM_BYTES = 52 << 20
"""What the bf16 logits of one chunk may take. A larger chunk reads the matrix and writes its gradient less often, at
the moment of the step when most is held."""

SLICE = 4096
"""Rows of the (V, W) matrix that are cast, and of its gradient that are multiplied, at a time: they then stay in cache,
and there is never a second matrix."""

FEWEST_ROWS = 512
"""Rows of a chunk at least, whatever the vocabulary: thinner products are slow."""


def chunk_rows(count: int, columns: int) -> int:
    """Rows of each chunk: `count` in as few equal parts as the room allows."""
    most = max(FEWEST_ROWS, ROOM_BYTES // (2 * columns))
    chunks = max(1, -(-count // most))
    return max(1, -(-count // chunks))


def fused_cross_entropy(kernels: Kernels, hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """As `linear_cross_entropy`: weighted nats over hidden (N, W), weight (V, W) in fp32, targets and weights (N,)."""
    total: Tensor = _FusedCrossEntropy.apply(kernels, hidden, weight, targets, weights)  # type: ignore[no-untyped-call]
    return total


class _FusedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Kernels, hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            need_hidden, need_weight = ctx.needs_input_grad[1], ctx.needs_input_grad[2]
            states = hidden.to(torch.bfloat16)
            count, columns = states.shape[0], weight.shape[0]
            rows = chunk_rows(count, columns)
            head = _Head(kernels, weight, rows)
            hidden_gradient = torch.empty_like(states) if need_hidden else None
            make = torch.empty_like if count else torch.zeros_like
            weight_gradient = make(weight) if need_weight else None
            losses = torch.empty(count)
            targets, weights = targets.contiguous(), weights.float().contiguous()
            for start in range(0, count, rows):
                part = slice(start, min(start + rows, count))
                logits = head.logits(states[part])  # (n, V)
                kernels.call(
                    "cross_entropy",
                    *(logits, columns, part.stop - start, columns),
                    *(targets[part], weights[part], losses[part], need_hidden or need_weight),
                )  # the logits are their own gradient from here on
                if hidden_gradient is not None:
                    head.differentiate_states(logits, hidden_gradient[part])
                if weight_gradient is not None:
                    head.differentiate_matrix(logits, states[part], weight_gradient, add=start > 0)
        ctx.save_for_backward(hidden_gradient, weight_gradient, weight)
        ctx.dtype = hidden.dtype
        return losses.double().sum().float()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient, weight = ctx.saved_tensors
        if hidden_gradient is not None:
            hidden_gradient = _scaled(hidden_gradient, outer[0]).to(ctx.dtype)
        if weight_gradient is not None:
            weight_gradient = give_gradient(weight, _scaled(weight_gradient, outer[0]))
        return None, hidden_gradient, weight_gradient, None, None


class _Head:
    """The three products with an fp32 matrix (V, W), of which a slice at a time is in bf16."""

    def __init__(self, kernels: Kernels, weight: Tensor, rows: int) -> None:
        self._kernels, self._weight = kernels, weight
        columns, width = weight.shape
        self._room = weight.new_empty(rows, columns, dtype=torch.bfloat16)
        self._slice = weight.new_empty(min(columns, SLICE), width, dtype=torch.bfloat16)
        self._slices = [slice(low, min(low + SLICE, columns)) for low in range(0, columns, SLICE)]

    def logits(self, states: Tensor) -> Tensor:
        """(n, W) -> (n, V), in room that the next call takes again."""
        logits = self._room[: states.shape[0]]
        for part in self._slices:
            torch.mm(states, self._cast(part).t(), out=logits[:, part])
        return logits

    def differentiate_states(self, gradient: Tensor, into: Tensor) -> None:
        """Gradient of the logits (n, V) -> of the states (n, W), summed in fp32 over the slices."""
        term, total = torch.empty_like(into), into.new_empty(into.shape, dtype=torch.float32)
        for place, part in enumerate(self._slices):
            torch.mm(gradient[:, part], self._cast(part), out=term)
            self._kernels.call("add_bf16", term, total, total.numel(), place > 0)
        into.copy_(total)

    def differentiate_matrix(self, gradient: Tensor, states: Tensor, into: Tensor, *, add: bool) -> None:
        """Gradient of the logits (n, V) and states (n, W) -> of the matrix (V, W) in fp32, put into or added to it."""
        for part in self._slices:
            product = self._slice[: part.stop - part.start]
            torch.mm(gradient[:, part].t(), states, out=product)
            self._kernels.call("add_bf16", product, into[part], product.numel(), add)

    def _cast(self, part: slice) -> Tensor:
        return self._slice[: part.stop - part.start].copy_(self._weight[part])


def _scaled(gradient: Tensor, outer: Tensor) -> Tensor:
    """In place, and not at all where the loss itself is differentiated, as it is in training."""
    return gradient if float(outer) == 1.0 else gradient.mul_(outer.to(gradient.dtype))
