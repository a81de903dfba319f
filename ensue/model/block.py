"""One layer: attention and an MLP around the residual stream, with the norms before them or after."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ensue.core.native import usable_kernels
from ensue.model.attention import Attention, Sight, Taps, tap
from ensue.model.cache import Cache
from ensue.model.config import GPTConfig
from ensue.model.fused import fused_gelu, fused_swiglu
from ensue.model.norm import make_norm, normed_for_product
from ensue.model.rotary import Rotation

# Legend: B rows, T tokens, W width, M hidden width of the MLP.


def gelu(x: Tensor) -> Tensor:
    """x Phi(x) in its tanh form (Hendrycks and Gimpel 2016; GPT to GPT-3)."""
    kernels = usable_kernels(x.device)
    if kernels is not None and x.dtype == torch.bfloat16:
        return fused_gelu(kernels, x)
    return F.gelu(x, approximate="tanh")


def swiglu(gate_up: Tensor) -> Tensor:
    """(..., 2M) -> (..., M): the first half, through SiLU, times the second (Shazeer 2020)."""
    kernels = usable_kernels(gate_up.device)
    if kernels is not None and gate_up.dtype == torch.bfloat16:
        return fused_swiglu(kernels, gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


class MLP(nn.Module):
    """W -> M -> W with GELU (GPT to GPT-3)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.hidden, bias=config.bias)
        self.down = nn.Linear(config.hidden, config.width, bias=config.bias)

    def forward(self, x: Tensor, *, taps: Taps | None, prefix: str) -> Tensor:
        hidden = tap(taps, f"{prefix}.hidden", gelu(self.up(x)))  # (B, T, M)
        return tap(taps, f"{prefix}.output", self.down(hidden))


class GatedMLP(nn.Module):
    """W -> M -> W where one half gates the other through SiLU (SwiGLU)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.hidden, bias=config.bias)
        self.down = nn.Linear(config.hidden, config.width, bias=config.bias)

    def forward(self, x: Tensor, *, taps: Taps | None, prefix: str) -> Tensor:
        hidden = tap(taps, f"{prefix}.hidden", swiglu(self.gate_up(x)))  # (B, T, M)
        return tap(taps, f"{prefix}.output", self.down(hidden))


class Block(nn.Module):
    """Pre-norm: x += attention(norm(x)); x += mlp(norm(x)) (GPT-2, 2.3). Post-norm: x = norm(x + part(x)) (GPT)."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.prefix = f"blocks.{layer}"
        self.norm_first = config.norm_place == "pre"
        self.dropout = config.residual_dropout
        self.attention_norm = make_norm(config, config.width)
        self.attention = Attention(config, layer)
        self.mlp_norm = make_norm(config, config.width)
        self.mlp = GatedMLP(config) if config.mlp == "swiglu" else MLP(config)

    def forward(
        self, x: Tensor, *, rotation: Rotation | None, sight: Sight, cache: Cache | None, taps: Taps | None
    ) -> Tensor:
        """(B, T, W) -> (B, T, W). Taps: input, attention.*, middle, mlp.*, output."""
        x = tap(taps, f"{self.prefix}.input", x)
        attended = self.attention(
            normed_for_product(self.attention_norm, x) if self.norm_first else x,
            rotation=rotation,
            sight=sight,
            cache=cache,
            taps=taps,
            prefix=f"{self.prefix}.attention",
        )
        x = x + self._drop(attended)
        x = tap(taps, f"{self.prefix}.middle", x if self.norm_first else self.attention_norm(x))
        inner = normed_for_product(self.mlp_norm, x) if self.norm_first else x
        changed = self.mlp(inner, taps=taps, prefix=f"{self.prefix}.mlp")
        x = x + self._drop(changed)
        return tap(taps, f"{self.prefix}.output", x if self.norm_first else self.mlp_norm(x))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x
