"""`linear_cross_entropy` with the softmax of each chunk in one CPU kernel, in place on its bf16 logits.

The twin of `ensue.loss.linear_cross_entropy` for processors that `ensue.core.native` has kernels for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ensue.core.native import Kernels

# Legend: N rows (tokens), n rows of a chunk, W width, V vocabulary.

ROOM_BYTES = 64 << 20
"""What the bf16 logits of one chunk may take. A larger chunk writes the (V, W) gradient less often."""

SLICE = 4096
"""Rows of the (V, W) gradient that are multiplied at a time: their sum then stays in cache, and the product needs no
room of the vocabulary's size."""

FEWEST_ROWS = 512
"""Rows of a chunk at least, whatever the vocabulary: thinner products are slow."""


def fused_cross_entropy(kernels: Kernels, hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """As `linear_cross_entropy`: weighted nats over hidden (N, W), weight (V, W) in fp32, targets and weights (N,)."""
    total: Tensor = _FusedCrossEntropy.apply(kernels, hidden, weight, targets, weights)  # type: ignore[no-untyped-call]
    return total


class _FusedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Kernels, hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            need_hidden, need_weight = ctx.needs_input_grad[1], ctx.needs_input_grad[2]
            states, matrix = hidden.to(torch.bfloat16), weight.to(torch.bfloat16)
            count, columns = states.shape[0], matrix.shape[0]
            rows = max(1, min(count, max(FEWEST_ROWS, ROOM_BYTES // (2 * columns))))
            room = matrix.new_empty(rows, columns)
            product = matrix.new_empty(min(columns, SLICE), matrix.shape[1])
            hidden_gradient = torch.empty_like(states) if need_hidden else None
            make = torch.empty_like if count else torch.zeros_like
            weight_gradient = make(weight) if need_weight else None
            losses = torch.empty(count)
            targets, weights = targets.contiguous(), weights.float().contiguous()
            for start in range(0, count, rows):
                part = slice(start, min(start + rows, count))
                logits = torch.mm(states[part], matrix.t(), out=room[: part.stop - start])  # (n, V)
                kernels.call(
                    "cross_entropy",
                    *(logits, columns, part.stop - start, columns),
                    *(targets[part], weights[part], losses[part], need_hidden or need_weight),
                )  # the logits are their own gradient from here on
                if hidden_gradient is not None:
                    torch.mm(logits, matrix, out=hidden_gradient[part])
                for low in range(0, 0 if weight_gradient is None else columns, SLICE):
                    high = min(low + SLICE, columns)
                    torch.mm(logits[:, low:high].t(), states[part], out=product[: high - low])
                    assert weight_gradient is not None
                    into = weight_gradient[low:high]
                    kernels.call("add_bf16", product, into, into.numel(), start > 0)
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        ctx.dtypes = hidden.dtype, weight.dtype
        return losses.double().sum().float()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        gradients = [
            None if gradient is None else _scaled(gradient, outer[0]).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return None, *gradients, None, None


def _scaled(gradient: Tensor, outer: Tensor) -> Tensor:
    """In place, and not at all where the loss itself is differentiated, as it is in training."""
    return gradient if float(outer) == 1.0 else gradient.mul_(outer.to(gradient.dtype))
