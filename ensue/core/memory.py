"""Where a training step's memory comes from: what is freed is kept for the next step, large blocks apart from small."""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache

import torch
from torch import Tensor

from ensue.core.native import Unavailable, load_large_blocks

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""glibc's mallopt(3)."""

LARGEST = 1 << 30
"""Bytes of the largest block that comes from the heap, which keeps it, and not from a mapping of its own."""


SMALLEST = 256 << 10
"""Bytes of a tensor that is kept apart from all that is smaller, and of one that gets a mapping of its own to last."""


def keep_freed_memory() -> bool:
    """Have glibc's allocator keep what is freed; says whether it took the settings (False where there is no glibc).
    Tensors made from now on are kept too, in a place of their own where a C++ compiler is at hand.

    A training step frees and asks for the same large tensors every time. By default each of them is a fresh mapping,
    whose pages the kernel clears one by one at first touch: a fifth of a 124M step on two cores.
    """
    if sys.platform != "linux":
        return False
    keep_large_blocks_apart()
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 << 20))
    taken = [mallopt(name, value) == 1 for name, value in settings]
    return all(taken)


@cache
def keep_large_blocks_apart() -> bool:
    """Have torch take the memory of large CPU tensors from `kernels/large_blocks.cpp`; False where it cannot be built.

    In glibc's heap a 124M step lost 0.4 GB to holes that something small had come to lie in.
    """
    try:
        return load_large_blocks(SMALLEST)
    except Unavailable:
        return False


def lasting_zeros(like: Tensor) -> Tensor:
    """`torch.zeros_like(like)` for what lasts as long as the run: a large CPU tensor gets a mapping of its own, so that
    it does not stand between blocks that come and go. Its memory is taken at the first touch."""
    size = like.numel() * like.element_size()
    if sys.platform != "linux" or type(like) not in (Tensor, torch.nn.Parameter):
        return torch.zeros_like(like)
    if like.device.type != "cpu" or size < SMALLEST or not like.is_contiguous():
        return torch.zeros_like(like)
    place = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(place, dtype=like.dtype).view(like.shape)
