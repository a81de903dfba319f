"""Cross-entropy of a linear output layer, without ever holding all the logits.

The logits of one chunk of rows are made, turned into loss and gradient at once, and forgotten: memory is chunk x
vocabulary instead of tokens x vocabulary, and the three matrix products are the same three that the plain way does.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ensue.core.gradients import give_gradient
from ensue.core.native import usable_kernels
from ensue.loss.fused_cross_entropy import fused_cross_entropy

# Legend: N rows (tokens), W width, V vocabulary.

CHUNK_BYTES = 8 << 20
"""Size of one chunk's fp32 logits: small enough to stay in a CPU's cache between the passes over it."""

FEWEST_ROWS = 512
"""Rows of a chunk at least, whatever the vocabulary: thinner products are slow."""


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum over N of weights x -log softmax(hidden weight^T)[target], in nats, as an fp32 (or fp64) scalar.

    hidden (N, W), weight (V, W), targets (N,) int64, weights (N,). Differentiable in hidden and weight. Rows that weigh
    0 cost nothing. Under autocast the products run in its dtype and the softmax in fp32.
    """
    if not bool(weights.all()):
        counted = weights.nonzero().squeeze(1)
        hidden, targets, weights = hidden[counted], targets[counted], weights[counted]
    if not torch.is_grad_enabled():
        hidden, weight = hidden.detach(), weight.detach()  # a Function cannot see that no gradient is wanted
    kernels = usable_kernels(hidden.device)
    if kernels is not None and weight.dtype == torch.float32:
        return fused_cross_entropy(kernels, hidden, weight, targets, weights)
    total: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, weights)  # type: ignore[no-untyped-call]
    return total


def plain_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The slow twin of `linear_cross_entropy`: the same sum through all the logits and autograd."""
    logits = F.linear(hidden, weight)
    exact = torch.promote_types(logits.dtype, torch.float32)
    nats = F.cross_entropy(logits.to(exact), targets, reduction="none")
    return (nats * weights).sum()


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        device = hidden.device.type
        compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        exact = torch.promote_types(hidden.dtype, torch.float32)
        with torch.autocast(device, enabled=False):
            need_hidden, need_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
            matrix = weight.to(compute)
            hidden_gradient = torch.empty_like(hidden) if need_hidden else None
            weight_gradient = torch.zeros_like(weight) if need_weight else None
            total = torch.zeros((), dtype=exact, device=hidden.device)
            rows = max(FEWEST_ROWS, CHUNK_BYTES // (matrix.shape[0] * exact.itemsize))
            room = torch.empty(min(rows, hidden.shape[0]), matrix.shape[0], dtype=compute, device=hidden.device)
            equal = bool((weights == 1).all())
            for start in range(0, hidden.shape[0], rows):
                part = slice(start, start + rows)
                states = hidden[part].to(compute)  # (n, W)
                logits = torch.mm(states, matrix.t(), out=room[: states.shape[0]]).to(exact)  # (n, V)
                logs = torch.log_softmax(logits, -1, out=logits)
                total -= (logs.gather(1, targets[part, None]).squeeze(1) * weights[part]).sum()
                if not (need_hidden or need_weight):
                    continue
                gradient = logs.exp_()  # softmax - one hot, in place
                gradient.scatter_add_(1, targets[part, None], gradient.new_full((gradient.shape[0], 1), -1.0))
                gradient = (gradient if equal else gradient.mul_(weights[part, None])).to(compute)
                if hidden_gradient is not None:
                    hidden_gradient[part] = (gradient @ matrix).to(hidden.dtype)
                if weight_gradient is not None:
                    if compute == weight.dtype:
                        weight_gradient.addmm_(gradient.t(), states)
                    else:
                        weight_gradient += (gradient.t() @ states).to(weight.dtype)
        ctx.save_for_backward(hidden_gradient, weight_gradient, weight)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient, weight = ctx.saved_tensors
        scale = outer[0]
        for gradient in (hidden_gradient, weight_gradient):
            if gradient is not None:
                gradient.mul_(scale.to(gradient.dtype))
        if weight_gradient is not None:
            weight_gradient = give_gradient(weight, weight_gradient)
        return hidden_gradient, weight_gradient, None, None
