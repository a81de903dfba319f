"""A GPT-2 as people write it first in PyTorch: what the benchmarks compare with beside `transformers`.

Legend: B rows, T context, V vocabulary, H heads, D width of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainBlock(nn.Module):
    """Attention and MLP, each after its LayerNorm."""

    def __init__(self, width: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=bias)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=bias)
        self.attention_out = nn.Linear(width, width, bias=bias)
        self.mlp_norm = nn.LayerNorm(width, bias=bias)
        self.up = nn.Linear(width, 4 * width, bias=bias)
        self.down = nn.Linear(4 * width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        rows, context, width = x.shape
        parts = self.queries_keys_values(self.attention_norm(x)).split(width, dim=2)
        q, k, v = (part.view(rows, context, self.heads, -1).transpose(1, 2) for part in parts)  # (B, H, T, D)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_out(seen.transpose(1, 2).reshape(rows, context, width))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x))))


class PlainGPT(nn.Module):
    """GPT-2 as people write it in PyTorch: learned positions, tied head, std 0.02, residual outputs scaled down."""

    def __init__(
        self, vocab: int, *, layers: int = 4, width: int = 128, heads: int = 4, context: int = 64, bias: bool = False
    ) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(PlainBlock(width, heads, bias=bias) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=bias)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("attention_out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if residual else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)
