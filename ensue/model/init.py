"""How a GPT starts: every weight drawn from a generator named after it, so that order and sharding do not matter."""

from __future__ import annotations

import torch
from torch import nn

from ensue.core.seeds import seed_for
from ensue.model.config import GPTConfig


@torch.no_grad()
def initialise(model: nn.Module, config: GPTConfig, seed: int) -> None:
    """Fill the parameters in place: matrices and embeddings N(0, init_std), biases 0, gains 1.

    GPT (2018) 4.1 for the values; GPT-2 (2019) 2.3 for scaling the weights of residual layers by 1/sqrt(N), with N the
    2 x layers output projections that write to the residual stream.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
            continue
        std = config.position_std if name == "position_embedding.weight" else config.init_std
        if name.endswith(("attention.out.weight", "mlp.down.weight")):
            std *= {"same": 1.0, "scaled": (2 * config.layers) ** -0.5, "zero": 0.0}[config.residual_init]
        generator = torch.Generator().manual_seed(seed_for(seed, "init", name))
        values = torch.empty(parameter.shape).normal_(0.0, std, generator=generator) if std else 0.0
        parameter.copy_(values) if isinstance(values, torch.Tensor) else parameter.zero_()
