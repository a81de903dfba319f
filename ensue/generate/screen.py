"""Which outputs of a head can be among its greatest, told from int8 weights: half of what reading it in bf16 takes.

The C++ side (`ensue/core/kernels/greatest.h`) computes those exactly, and no others. A token that is the likeliest, or
is drawn from the k likeliest, is the same as if all logits were there.

Legend: V vocabulary, in whole blocks of outputs; W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ensue.generate.packing import quantise

LANES = 16
"""Outputs that are computed together."""

MOST_ROWS = 64
"""States of a pass that may ask: each takes the memory of all coarse logits."""

WORTH, PAUSE = 0.2, 64
"""Where more than this share of the outputs had to be computed, so many passes compute all of them."""

ROUNDING = 2.0**-24


@dataclass(frozen=True)
class Greatest:
    """Logits that are asked for: of state i the `counts[i]` greatest among the ids below `among`, 0 for all of them."""

    counts: Sequence[int]
    among: int


class Screen:
    """The coarse weights of a head, how far they may be off, and whether it is worth while to ask them."""

    def __init__(self, exact: Tensor) -> None:
        """`exact` (V, W) fp32: the values that the exact product reads."""
        width = exact.shape[1]
        centred = exact - exact.mean(0)
        self.whole, self.scales = quantise(centred)
        coarse = self.whole.float().mul_(self.scales[:, None])
        size, off = coarse.norm(dim=1), centred.sub_(coarse).norm(dim=1)
        # A row is rounded to 8 bits twice, and what is left is at most sqrt(64) / 254^2 of it; then the sums, with one
        # rounding a term of the exact one and one for every 64 of the coarse one (Higham 2002, section 3.1).
        of_coarse = size * (8 / 254**2 + (width / 64 + 4) * ROUNDING)
        self.slack = (off + of_coarse + exact.norm(dim=1) * (width + 4) * ROUNDING) * 1.0001
        self._vectors, self._pause = -(-len(exact) // LANES), 0

    def counts(self, greatest: Greatest | None) -> Sequence[int]:
        """What to ask for in the next pass; nothing where all logits are to be computed."""
        if greatest is None or not 0 < len(greatest.counts) <= MOST_ROWS:
            return ()
        if min(greatest.counts) < 1 or max(greatest.counts) > greatest.among // LANES:
            return ()
        self._pause = max(0, self._pause - 1)
        return () if self._pause else greatest.counts

    def learn(self, vectors: int, rows: int) -> None:
        """So many vectors of outputs had to be computed for so many rows."""
        if vectors > WORTH * rows * self._vectors:
            self._pause = PAUSE
