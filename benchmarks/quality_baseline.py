"""The baseline of the time-to-quality benchmark: the well-known CPU recipe for characters, in plain PyTorch.

Legend: B rows, T context, V distinct characters, H heads, D width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.quality_task import Characters, Watch, validation_loss
from ensue.tokens.shards import Shard


class PlainBlock(nn.Module):
    """Attention and MLP, each after its LayerNorm, without biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, context, width = x.shape
        parts = self.queries_keys_values(self.attention_norm(x)).split(width, dim=2)
        q, k, v = (part.view(rows, context, self.heads, -1).transpose(1, 2) for part in parts)  # (B, H, T, D)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attention_out(seen.transpose(1, 2).reshape(rows, context, width))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x))))


class PlainGPT(nn.Module):
    """GPT-2 as people write it in PyTorch: learned positions, tied head, std 0.02, residual outputs scaled down."""

    def __init__(self, vocab: int, *, layers: int = 4, width: int = 128, heads: int = 4, context: int = 64) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocab, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(PlainBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("attention_out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if residual else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)


def train_baseline(
    characters: Characters, watch: Watch, *, seed: int, steps: int, rows: int = 12
) -> tuple[PlainGPT, int, int]:
    """The model after the well-known CPU recipe in plain PyTorch, fp32; its steps and its tokens."""
    torch.manual_seed(seed)
    model = PlainGPT(characters.vocab)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [each for each in parameters if each.dim() >= 2], "weight_decay": 0.1},
            {"params": [each for each in parameters if each.dim() < 2], "weight_decay": 0.0},
        ],
        lr=1e-3,
        betas=(0.9, 0.99),
    )

    def loss() -> float:
        return validation_loss(model, characters.validation, model.context)

    for step, (tokens, targets) in enumerate(_random_windows(characters.train, rows, model.context, seed, steps)):
        for group in optimizer.param_groups:
            group["lr"] = _baseline_rate(step, steps)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten()).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        watch.read((step + 1) / steps, loss)
    return model, steps, steps * rows * model.context


def _baseline_rate(step: int, steps: int, *, warmup: int = 100) -> float:
    """Linear warm-up to 1e-3, then cosine to 1e-4."""
    if step < warmup:
        return 1e-3 * (step + 1) / warmup
    return 1e-4 + 9e-4 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _random_windows(text: Shard, rows: int, context: int, seed: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets (B, T) int64 of each step, from anywhere in the text."""
    generator = np.random.default_rng(seed)
    ids = np.asarray(text.tokens, np.int64)
    for _ in range(steps):
        starts = generator.integers(0, len(ids) - context, rows)
        windows = torch.from_numpy(ids[starts[:, None] + np.arange(context + 1)])  # (B, T+1)
        yield windows[:, :-1], windows[:, 1:]
