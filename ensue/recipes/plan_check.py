"""Refusing a run that cannot fit, before anything is read or written, and saying what would."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from ensue.model.config import GPTConfig
from ensue.model.presets import PRESETS
from ensue.recipes.plan_memory import FP32, Layout, memory
from ensue.recipes.run_config import RunConfig
from ensue.train.parallel import Place

CONTAINER = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
"""A container's limit, what is used of it and for what, as the second and the first version of control groups tell."""


def check_fits(config: RunConfig, place: Place, device: torch.device) -> None:
    """Raise ValueError where weights, gradients and optimizer alone are more than this process can have of memory."""
    there = memory_there(device)
    need = certain(config, config.model, place)
    if there is None or need <= there:
        return
    what = "this GPU" if device.type == "cuda" else "this machine"
    others = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    share = f", shared by {others} processes" if device.type == "cpu" and others > 1 else ""
    smaller = _smaller(config, place, there)
    said = f"The largest preset of {config.recipe} for which that is enough is {smaller}. " if smaller else ""
    raise ValueError(
        f"{config.model.parameters:,} parameters need {need / 1e9:,.1f} GB of each process for weights, gradients and "
        f"optimizer alone, and {what} has {there / 1e9:,.1f} GB{share}. {said}With --parallel.shard null the processes "
        "that torchrun starts hold a part each (docs/distributed.md); `ensue plan` says how many GPUs a preset needs."
    )


def certain(config: RunConfig, model: GPTConfig, place: Place) -> float:
    """Bytes that one process holds in any case, whatever its batch and its precision."""
    layout = Layout(place.data, place.shard, place.tensor)
    held = memory(model, layout, precision="fp32", optimizer=config.optimizer.kind)
    return held.weights + held.optimizer + FP32 * model.parameters / (place.shard * place.tensor)


def memory_there(device: torch.device) -> float | None:
    """Bytes for one process: the GPU's, or its part of what the system has available; None where that is unknown."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[1])
    available = system_memory()
    return None if available is None else available / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def system_memory(root: Path = Path("/")) -> float | None:
    """Bytes that Linux can still give out, or the container that this runs in, whichever is less; None elsewhere."""
    try:
        facts = dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines())
    except OSError:
        return None
    found = [float(facts["MemAvailable"].split()[0]) * 1024]
    for names in CONTAINER:
        try:
            limit, used, uses = ((root / "sys/fs/cgroup" / name).read_text(encoding="ascii") for name in names)
        except OSError:
            continue
        if limit.strip() != "max":
            kinds = dict(line.split() for line in uses.splitlines())
            cached = sum(float(kinds.get(kind, 0)) for kind in ("inactive_file", "active_file"))  # given up when asked
            found.append(float(limit) - float(used) + cached)
    return min(found)


def _smaller(config: RunConfig, place: Place, there: float) -> str | None:
    """The largest preset of the same recipe that needs no more than is there, if any does."""
    family = [name for name in PRESETS if name.partition("-")[0] == config.recipe]
    fitting = [
        name for name in family if certain(config, replace(PRESETS[name], vocab=config.model.vocab), place) <= there
    ]
    return max(fitting, key=lambda name: PRESETS[name].parameters, default=None)
