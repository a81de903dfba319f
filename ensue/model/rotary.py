"""Rotary positions (Su et al. 2021): queries and keys turned by an angle that grows with their position."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Legend: B rows, T tokens, H heads, D head width.

Rotation = tuple[Tensor, Tensor]
"""Of each position's angle in the D/2 planes: cosines, and sines with the sign of their half, (B or 1, 1, T, D)."""


def rotation_of(positions: Tensor, head_width: int, base: float) -> Rotation:
    """The rotation of (B or 1, T) positions: plane i turns by position x base^(-2i/D) radians."""
    half = head_width // 2
    frequency = base ** (-torch.arange(half, device=positions.device, dtype=torch.float32) / half)  # (D/2,)
    angle = positions[:, None, :, None].float() * frequency  # (B, 1, T, D/2)
    return torch.cat((angle.cos(), angle.cos()), -1), torch.cat((-angle.sin(), angle.sin()), -1)


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
    """Both halves at once: x cos + (x with its halves exchanged) sin, the sine carrying each half's sign."""
    return torch.addcmul(x * cosine, x.roll(x.shape[-1] // 2, -1), sine)
