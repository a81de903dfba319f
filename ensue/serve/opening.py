"""A model in the precision that it is to be served in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ensue.core.device import choose_device
from ensue.generate.engine.opening import EngineSettings, context_bytes
from ensue.generate.lm import LM
from ensue.generate.load import load
from ensue.generate.packing import Precision

USUAL_CACHE = 1 << 30
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def open_model(
    path: str, *, device: str = "auto", dtype: Precision = "fp32", cache: str | None = None, most: int = 64
) -> tuple[LM, EngineSettings]:
    """The model at `path`, and how an engine runs it: up to `most` texts at once, over a cache such as `512M`.

    On a CPU the weights are read in fp32 and packed in `dtype`. Unless said, the cache is what `most` texts as long as
    the context take, or 1 GB where that is less. Raises ValueError for a size that is none.
    """
    on_cpu = choose_device(device).type == "cpu"
    if dtype not in ("fp32", "bf16") and not on_cpu:
        raise ValueError(f"{dtype} is for CPUs; use bf16 on a GPU.")
    with enough_memory(path):
        lm = load(path, device=device, dtype="bf16" if dtype == "bf16" and not on_cpu else "fp32")
    settings = EngineSettings(dtype, most=most)
    needed = context_bytes(lm.config, settings)
    held = read_bytes(cache) if cache is not None else max(needed, min(USUAL_CACHE, most * needed))
    return lm, EngineSettings(dtype, cache_bytes=held, most=most)


@contextmanager
def enough_memory(name: str) -> Iterator[None]:
    """Say in words where a device's memory does not suffice inside the block."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"there is not enough memory on the device for {name} ({error}). Give a smaller --cache, or end what else "
            "uses the device, such as another server."
        ) from error


def read_bytes(text: str) -> int:
    """The number of bytes that a text such as 512M or 1.5G means."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?B?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"{text!r} is no amount of memory; type something like 512M or 2G.")
    return int(float(found[1]) * UNITS[found[2].upper()])
