"""A few weights of every tensor, so that each step can vouch for the model it left, at a cost nobody notices."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

SAMPLE = 256
"""Values read from each tensor a step, evenly spread, from another place each step. Whatever changes how a step is
computed changes nearly all of them; whole tensors are compared wherever a checkpoint was written."""

STRIDE_OF_PLACES = 7919
"""A prime, so that the places wander over the whole of each tensor."""


@torch.no_grad()
def fingerprint(parameters: Mapping[str, Tensor], step: int) -> str:
    """Sixteen bits for each tensor, in order, as base64: equal for equal bits at this step's places."""
    samples = [_sample(parameter, step) for parameter in parameters.values()]
    values = torch.cat(samples)
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()  # exact from the narrower ones
    bits = values.cpu().numpy().view(np.uint32 if values.dtype == torch.float32 else np.uint64).astype(np.uint64)
    starts = np.cumsum([0, *(len(sample) for sample in samples[:-1])])
    sums = np.add.reduceat(bits * _weights(len(bits)), starts)
    return base64.b64encode((sums >> np.uint64(48)).astype("<u2").tobytes()).decode()


def first_difference(names: Sequence[str], one: str, other: str) -> str | None:
    """The first tensor in which two fingerprints of the same step differ."""
    pairs = zip(names, _numbers(one), _numbers(other), strict=False)
    return next((name for name, here, there in pairs if here != there), None)


def _sample(tensor: Tensor, step: int) -> Tensor:
    flat = tensor.detach().reshape(-1)
    stride = -(-len(flat) // SAMPLE)
    return flat[step * STRIDE_OF_PLACES % stride :: stride] if stride > 1 else flat


def _weights(count: int) -> np.ndarray:
    """Odd 64-bit numbers, so that a sum of bits times them has any change of one value in its upper bits."""
    return np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)


def _numbers(text: str) -> list[int]:
    numbers: list[int] = np.frombuffer(base64.b64decode(text), "<u2").tolist()
    return numbers
