"""What a machine is told before it trains, and what a person is told of what it lacks."""

from __future__ import annotations

import torch

from ensue.core.memory import keep_freed_memory
from ensue.core.native import why_no_kernels
from ensue.recipes.display import Display


def ready_machine(device: torch.device, precision: str, display: Display) -> None:
    """Keep freed memory for the next step, and build the CPU's kernels where a bf16 run is to use them.

    Building takes seconds, once on a machine; where they cannot be had, the display says what is lost.
    """
    if device.type != "cpu":
        return
    keep_freed_memory()
    reason = why_no_kernels() if precision == "bf16" else None
    if reason is not None:
        display.say(f"PyTorch's own kernels are used, a step takes half as long again: {reason}.")
