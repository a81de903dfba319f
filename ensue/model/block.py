"""One layer: attention and an MLP around the residual stream, with the norms before them or after."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ensue.model.activation import gelu, swiglu
from ensue.model.attention import Attention, Sight, Taps, tap
from ensue.model.branches import Branches
from ensue.model.cache import Cache
from ensue.model.config import GPTConfig
from ensue.model.norm import Norm, make_norm
from ensue.model.products import product_of_gelu, product_of_norm, product_of_swiglu
from ensue.model.rotary import Rotation

# Legend: B rows, T tokens, W width, M hidden width of the MLP.


class MLP(nn.Module):
    """W -> M -> W with GELU (GPT to GPT-3)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.hidden, bias=config.bias)
        self.down = nn.Linear(config.hidden, config.width, bias=config.bias)

    def forward(self, x: Tensor, norm: Norm | None, *, taps: Taps | None, prefix: str) -> Tensor:
        """Of norm(x), or of x itself. Taps: hidden, output."""
        up = product_of_norm(self.up, norm, x) if norm is not None else self.up(x)  # (B, T, M)
        if taps is None:
            return product_of_gelu(self.down, up)
        return tap(taps, f"{prefix}.output", self.down(tap(taps, f"{prefix}.hidden", gelu(up))))


class GatedMLP(nn.Module):
    """W -> M -> W where one half gates the other through SiLU (SwiGLU)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.hidden, bias=config.bias)
        self.down = nn.Linear(config.hidden, config.width, bias=config.bias)

    def forward(self, x: Tensor, norm: Norm | None, *, taps: Taps | None, prefix: str) -> Tensor:
        """Of norm(x), or of x itself. Taps: hidden, output."""
        gate_up = product_of_norm(self.gate_up, norm, x) if norm is not None else self.gate_up(x)  # (B, T, 2M)
        if taps is None:
            return product_of_swiglu(self.down, gate_up)
        return tap(taps, f"{prefix}.output", self.down(tap(taps, f"{prefix}.hidden", swiglu(gate_up))))


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
        self,
        x: Tensor,
        *,
        rotation: Rotation | None,
        sight: Sight,
        cache: Cache | Branches | None,
        taps: Taps | None,
    ) -> Tensor:
        """(B, T, W) -> (B, T, W). Taps: input, attention.*, middle, mlp.*, output."""
        x = tap(taps, f"{self.prefix}.input", x)
        attended = self.attention(
            x,
            self.attention_norm if self.norm_first else None,
            rotation=rotation,
            sight=sight,
            cache=cache,
            taps=taps,
            prefix=f"{self.prefix}.attention",
        )
        x = x + self._drop(attended)
        x = tap(taps, f"{self.prefix}.middle", x if self.norm_first else self.attention_norm(x))
        changed = self.mlp(x, self.mlp_norm if self.norm_first else None, taps=taps, prefix=f"{self.prefix}.mlp")
        x = x + self._drop(changed)
        return tap(taps, f"{self.prefix}.output", x if self.norm_first else self.mlp_norm(x))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x
