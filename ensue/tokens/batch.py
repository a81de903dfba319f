"""The batch: what one forward pass sees, and what it is scored on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One micro-batch of B rows of T tokens.

    tokens   (B, T) int64, the inputs
    targets  (B, T) int64, the token that ensues at each position
    weights  (B, T) float32, 1 where the target counts in the loss, 0 where it does not
    segments (B, T) int32 document numbers where documents must not see each other, or None where they may
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    segments: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        segments = None if self.segments is None else self.segments.to(device, non_blocking=True)
        return replace(
            self,
            tokens=self.tokens.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            weights=self.weights.to(device, non_blocking=True),
            segments=segments,
        )


@dataclass(frozen=True)
class BigramBatch:
    """Rows of a bigram table: first (R,) int64 tokens; counts (R, V) float32, how often each comes right after."""

    first: Tensor
    counts: Tensor

    def to(self, device: torch.device) -> BigramBatch:
        """The same batch on another device."""
        return BigramBatch(self.first.to(device), self.counts.to(device))
