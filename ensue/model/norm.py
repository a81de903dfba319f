"""The two normalisations: LayerNorm (GPT to GPT-3) and RMSNorm."""

from __future__ import annotations

from torch import nn

from ensue.model.config import GPTConfig


def make_norm(config: GPTConfig, width: int) -> nn.Module:
    """The config's normalisation over the last `width` values; LayerNorm keeps its bias, as all three papers do."""
    if config.norm == "rms":
        return nn.RMSNorm(width, eps=config.norm_epsilon)
    return nn.LayerNorm(width, eps=config.norm_epsilon)
