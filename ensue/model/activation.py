"""The MLP's two nonlinearities."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def gelu(x: Tensor) -> Tensor:
    """x Phi(x) in its tanh form (Hendrycks and Gimpel 2016; GPT to GPT-3)."""
    return F.gelu(x, approximate="tanh")


def swiglu(gate_up: Tensor) -> Tensor:
    """(..., 2M) -> (..., M): the first half, through SiLU, times the second (Shazeer 2020)."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up
