"""Weights in low precision, and in the order in which `ensue/core/kernels/packed.h` reads them.

Legend: O outputs, K inputs, G groups of 64 inputs.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Precision = Literal["fp32", "bf16", "int8", "int4"]
BLOCK, GROUP = 64, 64
"""Outputs that are computed together, and inputs that share a scale in int4."""

RATIOS = tuple(1 - 0.05 * step for step in range(7))
"""Of a group's largest weight: what int4's scale reaches, larger weights being cut off; the best one is taken."""


def pack(weight: Tensor, precision: Precision) -> tuple[Tensor, Tensor | None]:
    """(O, K) fp32 as the kernels read it, and the (O,) scales of int8: blocks of 64 outputs, padded with zeros."""
    padded = F.pad(weight, (0, 0, 0, -len(weight) % BLOCK))
    blocks = len(padded) // BLOCK
    if precision == "fp32":
        return padded.view(blocks, BLOCK, -1).transpose(1, 2).contiguous(), None
    if precision == "bf16":
        return padded.bfloat16().view(blocks, BLOCK, -1, 2).transpose(1, 2).contiguous(), None
    if precision == "int8":
        whole, scales = quantise(padded)
        return interleaved(whole), scales
    return _halves(*quantise_int4(padded)), None


def interleaved(whole: Tensor) -> Tensor:
    """(O, K) int8, in whole blocks of outputs, as the kernels read it."""
    shifted = (whole.to(torch.int16) + 128).to(torch.uint8)
    return shifted.view(len(whole) // BLOCK, BLOCK, -1, 4).transpose(1, 2).contiguous()


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(O, K) fp32 -> int8 and (O,) scales: each output's largest weight is 127 times its scale."""
    scales = weight.abs().amax(1).clamp(min=1e-12) / 127
    return (weight / scales[:, None]).round().to(torch.int8), scales


def quantise_int4(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(O, K) fp32 -> int8 from -8 to 7 and (O, G) bf16 scales, of each 64 inputs those that lose least in squares.

    A group's largest weight becomes -8, or less far from it where cutting it off serves the others.
    """
    groups = weight.view(len(weight), -1, GROUP)  # (O, G, 64)
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    whole, scales, lost = torch.zeros_like(groups), torch.ones_like(largest), torch.full_like(largest, float("inf"))
    for ratio in RATIOS:
        tried = (largest * (-ratio / 8)).bfloat16().float()
        tried = torch.where(tried == 0, torch.ones_like(tried), tried)
        rounded = (groups / tried).round_().clamp_(-8, 7)
        loss = (rounded * tried - groups).square().sum(-1, keepdim=True)
        better = loss < lost
        whole, scales, lost = (
            torch.where(better, new, old) for new, old in ((rounded, whole), (tried, scales), (loss, lost))
        )
    return whole.flatten(1).to(torch.int8), scales[..., 0].bfloat16()


def _halves(whole: Tensor, scales: Tensor) -> Tensor:
    """Of each block and group 64 bf16 scales, then (8, 64, 4) bytes: inputs 0 .. 31 in the lower halves, the others in
    the upper ones."""
    blocks = len(whole) // BLOCK
    shifted = (whole + 8).to(torch.uint8).view(blocks, BLOCK, -1, 2, 8, 4).permute(0, 2, 3, 4, 1, 5)
    both = (shifted[:, :, 0] | shifted[:, :, 1] << 4).flatten(2)  # (blocks, G, 2048)
    sizes = scales.view(blocks, BLOCK, -1).transpose(1, 2).contiguous().view(torch.uint8)  # (blocks, G, 128)
    return torch.cat([sizes, both], dim=2).contiguous()
