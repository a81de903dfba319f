"""Rotary positions (Su et al. 2021): queries and keys turned by an angle that grows with their position."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Legend: B rows, T tokens, H heads, D head width.

Rotation = tuple[Tensor, Tensor]
"""Cosine and sine of each position's angle in each of the D/2 planes, (B or 1, 1, T, D/2) each."""


def rotation_of(positions: Tensor, head_width: int, base: float) -> Rotation:
    """The rotation of (B or 1, T) positions: plane i turns by position x base^(-2i/D) radians."""
    half = head_width // 2
    frequency = base ** (-torch.arange(half, device=positions.device, dtype=torch.float32) / half)  # (D/2,)
    angle = positions[:, None, :, None].float() * frequency  # (B, 1, T, D/2)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn (B, H, T, D): the first and second half of D are the coordinates of its D/2 planes."""
    cosine, sine = (table.to(x.dtype) for table in rotation)
    turned: Tensor = _Rotate.apply(x, cosine, sine)  # type: ignore[no-untyped-call]
    return turned


class _Rotate(torch.autograd.Function):
    """A rotation's gradient is the rotation back, which autograd through the formula does not know."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turn(x, cosine, sine)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        cosine, sine = ctx.saved_tensors
        return _turn(outer[0], cosine, -sine), None, None


def _turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    turned = torch.empty_like(x)
    turned[..., :half] = (first * cosine).addcmul_(second, sine, value=-1)
    turned[..., half:] = (second * cosine).addcmul_(first, sine)
    return turned
