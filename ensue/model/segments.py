"""Documents of a row that must not see each other, in the order in which they stand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def in_order(segments: Tensor) -> Tensor:
    """The documents of each row, (B, T) numbers of any kind, numbered in their order: (B, T) int32 from 0.

    Raises ValueError where a document's tokens are not neighbours.
    """
    number = F.pad((segments[:, 1:] != segments[:, :-1]).cumsum(1, dtype=torch.int32), (1, 0))
    sorted_segments = segments.sort(1).values
    distinct = (sorted_segments[:, 1:] != sorted_segments[:, :-1]).sum(1)
    if bool((number[:, -1] != distinct).any()):
        raise ValueError("segments: a document's tokens must be neighbours; give each stretch a number of its own.")
    return number
