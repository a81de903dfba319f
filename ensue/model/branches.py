"""Keys and values of a prefix that many rows go on from, and rows in which several continuations share their tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ensue.model.config import GPTConfig
from ensue.model.patterns import Pattern

# Legend: N layers, B rows, T new tokens, H heads, D head width, P positions of the trunk.


class Trunk:
    """The keys and values of one sequence in every layer, in memory that is made once and may be cut back.

    Unlike a `Cache` it keeps everything, whatever the patterns show, so that it can be cut back to any length.
    """

    def __init__(self, config: GPTConfig, *, capacity: int) -> None:
        self.shape = config.layers, 2, 1, config.heads, capacity, config.head_width
        self.length = 0
        self._held: Tensor | None = None  # (N, 2, 1, H, P, D), made when the first keys say of what kind

    @property
    def capacity(self) -> int:
        return self.shape[4]

    def cut(self, length: int) -> None:
        """Forget everything from position `length` on."""
        assert length <= self.length
        self.length = length

    def read(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """One layer's keys and values, (1, H, P, D) each, or None where nothing is held."""
        if self._held is None or not self.length:
            return None
        key, value = self._held[layer, :, :, :, : self.length]
        return key, value

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put one layer's (1, H, T, D) behind what is held; both together, which `grow` makes part of the trunk."""
        if self._held is None:
            self._held = torch.empty(self.shape, device=key.device, dtype=key.dtype)
        end = self.length + key.shape[2]
        held = self._held[layer, :, :, :, :end]
        held[0, :, :, self.length :], held[1, :, :, self.length :] = key, value
        return held[0], held[1]

    def grow(self, new: int) -> None:
        """Count `new` tokens as held, once all layers have written them."""
        self.length += new


@dataclass(frozen=True)
class Branches:
    """What a pass is given in place of a cache where each of its rows holds one or more trees on the end of a trunk.

    `positions` (B, T) count from the start of the sequence that ends in each token; `ancestors` (B, T, T) says which of
    a row's tokens are a token itself or come before it on the way to the trunk. A token sees, of the trunk and of its
    ancestors, what each layer's pattern shows. `keep` makes the one row of a pass, a single sequence, part of the
    trunk.
    """

    trunk: Trunk
    positions: Tensor
    ancestors: Tensor
    held: int
    keep: bool = False

    def begin(self, new: int) -> Tensor:
        """The positions of the pass's tokens."""
        assert new == self.positions.shape[1]
        return self.positions

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """New (B, H, T, D) keys and values behind those of the trunk, (B, H, P + T, D) each."""
        if self.keep:
            return self.trunk.extend(layer, key, value)
        shared = self.trunk.read(layer)
        if shared is None:
            return key, value
        both = tuple(
            torch.cat([old.expand(len(new), -1, -1, -1), new], dim=2)
            for old, new in zip(shared, (key, value), strict=True)
        )
        return both[0], both[1]

    def mask(self, pattern: Pattern, heads: int) -> Tensor:
        """Who sees whom, broadcastable to (B, H, T, P + T)."""
        before = torch.arange(self.trunk.length, device=self.positions.device)
        places = torch.cat([before.expand(len(self.positions), -1), self.positions], dim=1)  # (B, P + T)
        head = torch.arange(heads, device=places.device)[None, :, None, None]
        mask: Tensor = pattern.visible(self.positions[:, None, :, None], places[:, None, None, :], head)
        trunk = self.ancestors.new_ones(1, 1, 1).expand(*self.ancestors.shape[:2], self.trunk.length)
        return mask & torch.cat([trunk, self.ancestors], dim=2)[:, None]

    def advance(self, new: int) -> None:
        """Count what was written as held, where it is kept."""
        if self.keep:
            self.trunk.grow(new)
