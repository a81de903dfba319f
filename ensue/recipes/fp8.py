"""Products of the blocks in fp8, through torchao: where a run may have them, and what to type where it may not."""

from __future__ import annotations

import logging

import torch
from torch import nn

from ensue.core.device import choose_precision
from ensue.recipes.run_config import RunConfig

LEAST_CAPABILITY = (8, 9)
"""Of GPUs that multiply in fp8: Ada (RTX 40, L4, L40), Hopper and later."""

MULTIPLE = 16
"""What every side of such a product must be a multiple of (cuBLASLt's rule)."""


def check_fp8(config: RunConfig, device: torch.device) -> None:
    """Raise ValueError, saying what to type instead, where `config` asks for fp8 and this run cannot have it."""
    if not config.fp8:
        return
    instead = "Type --fp8 false: bf16 is used then wherever it is faster."
    if device.type != "cuda":
        raise ValueError(f"--fp8 true is for GPUs, and this run is on {device}. {instead}")
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        needed, there = (".".join(map(str, each)) for each in (LEAST_CAPABILITY, capability))
        name = torch.cuda.get_device_name(device)
        raise ValueError(
            f"--fp8 true needs a GPU of compute capability {needed} or more, and {name} has {there}. {instead}"
        )
    check_shape_for_fp8(config)
    if choose_precision(config.precision, device) != "bf16":
        raise ValueError("--fp8 true goes with bf16 for all that is not in fp8; type --precision bf16.")


def check_shape_for_fp8(config: RunConfig) -> None:
    """Raise ValueError for a model or a mesh whose products fp8 does not take, on whatever GPU."""
    if config.parallel.tensor > 1:
        raise ValueError(
            "layers that are cut by heads and hidden units do not multiply in fp8; type --parallel.tensor 1 "
            "(--parallel.shard null instead shares the memory), or --fp8 false."
        )
    model = config.model
    for what, size in (("width", model.width), ("MLP's hidden width", model.hidden), ("context", model.context)):
        if size % MULTIPLE:
            raise ValueError(
                f"fp8 takes sizes that are multiples of {MULTIPLE}, and the {what} is {size}; "
                f"use {-(-size // MULTIPLE) * MULTIPLE}, or type --fp8 false."
            )


def multiply_in_fp8(blocks: nn.Module, *, emulate: bool = False) -> None:
    """Have every linear layer inside `blocks` multiply in fp8, in place: weights and inputs in E4M3, gradients in E5M2,
    each tensor scaled by its own largest value at each use (Micikevicius et al. 2022, "FP8 formats for deep learning").

    Parameters stay the very fp32 tensors that they were, and so do their names: optimizers, sharding and checkpoints
    see no difference. Embeddings and the head are outside of the blocks and stay as they are. `emulate` rounds as fp8
    does and multiplies in fp32, on any device, slowly. Raises ValueError where torchao is missing.
    """
    silent = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of kernels for other formats that it cannot load
    try:
        from torchao.float8 import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            Float8LinearConfig,
            convert_to_float8_training,
        )
    except ImportError as error:
        raise ValueError("--fp8 true needs the torchao package; type: pip install 'ensue[fp8]'") from error
    finally:
        logging.disable(silent)
    convert_to_float8_training(blocks, config=Float8LinearConfig(emulate=emulate))
