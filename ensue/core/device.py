"""Which device and which precision: the machine's best unless the user says."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def choose_device(name: str = "auto") -> torch.device:
    """The named device, or the GPU where there is one. Raises ValueError for one this machine does not have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"there is no device {name!r}; use auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but torch sees no GPU here; use --device cpu.")
    return device


def choose_precision(name: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """bf16 where the hardware multiplies it faster than fp32, else fp32; or what was asked for."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if bf16_is_faster() else "fp32"


@cache
def bf16_is_faster() -> bool:
    """Time a small product in both precisions on this CPU: emulated bf16 is a hundred times slower, real is faster."""
    bf16, fp32 = (
        product_rate(torch.device("cpu"), dtype, size=256, readings=5) for dtype in (torch.bfloat16, torch.float32)
    )
    return bf16 > fp32


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The context in which forward passes run: bf16 products over fp32 weights, or nothing at all."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def product_rate(device: torch.device, dtype: torch.dtype, *, size: int, readings: int) -> float:
    """FLOPs a second of square matrix products, the best of so many readings."""
    a = torch.ones(size, size, device=device, dtype=dtype)
    seconds = []
    for _ in range(readings):
        start = time.perf_counter()
        float((a @ a)[0, 0])  # which waits for a GPU
        seconds.append(time.perf_counter() - start)
    return 2.0 * size**3 / min(seconds)
