"""torch.compile where it pays: a C++ compiler (or a GPU), and a run long enough to earn the compile time back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ensue.model.gpt import GPT
from ensue.recipes.display import Display


def compiled_states(model: GPT, mode: Literal["auto", "on", "off"], display: Display) -> Callable[..., Tensor] | None:
    """The model's `hidden`, compiled, or None for the eager one.

    "auto" compiles on a GPU only: on a CPU it takes half a minute, and Ensue's own kernels are faster than what
    it makes; "on" asks for it.
    """
    on_gpu = model.token_embedding.weight.is_cuda
    if mode == "off" or (mode == "auto" and not on_gpu):
        return None
    if not on_gpu and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        display.say("no C++ compiler was found, so the model runs uncompiled (a little slower).")
        return None
    states: Callable[..., Tensor] = torch.compile(model.hidden, dynamic=False)
    return states
