"""The two normalisations: LayerNorm (GPT to GPT-3) and RMSNorm."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ensue.model.config import GPTConfig


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) x gain + bias over the last dimension (Ba et al. 2016)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) x gain over the last dimension (Zhang and Sennrich 2019), without a bias.

    Its gradient is written out, which on a CPU is several times faster than autograd through the same formula;
    `torch.nn.functional.rms_norm` is the slow twin.
    """

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = _RMSNorm.apply(x, self.weight, self.epsilon)  # type: ignore[no-untyped-call]
        return normed


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
        exact = _exact(x)
        mean = torch.linalg.vector_norm(exact, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        inverse = mean.add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, gain, inverse)
        normed: Tensor = (exact * inverse).mul_(gain)
        return normed.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, inverse = ctx.saved_tensors
        normed, outside = _exact(x) * inverse, _exact(outer[0])
        gain_gradient = (outside * normed).flatten(0, -2).sum(0)
        gradient = outside * gain
        share = torch.linalg.vecdot(gradient, normed).unsqueeze(-1).div_(x.shape[-1])
        inner: Tensor = gradient.addcmul_(normed, share, value=-1).mul_(inverse)
        return inner.to(x.dtype), gain_gradient.to(gain.dtype), None


def _exact(x: Tensor) -> Tensor:
    """At least fp32: squares of bf16 lose too much."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


Norm = LayerNorm | RMSNorm


def make_norm(config: GPTConfig, width: int) -> Norm:
    """The config's normalisation over the last `width` values; LayerNorm keeps its bias, as all three papers do."""
    return (RMSNorm if config.norm == "rms" else LayerNorm)(width, config.norm_epsilon)
