"""The key-value cache: a value that the caller makes, passes in, and may cut back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ensue.model.config import GPTConfig

# Legend: B rows, T new tokens, H heads, D head width, S positions held.


class Cache:
    """Keys and values of every layer for B rows, each row with a length of its own.

    A forward pass with T tokens writes row b at positions lengths[b] .. lengths[b] + T - 1 and adds T to every length.
    Rows of different lengths are padded on the right: run the pass, then `cut` each row to its true length. What lies
    beyond a row's length is never seen and is overwritten by what comes next.
    """

    def __init__(
        self, config: GPTConfig, rows: int, *, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (config.layers, rows, config.heads, capacity, config.head_width)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths: list[int] = [0] * rows
        self.capacity = capacity

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def cut(self, lengths: Sequence[int]) -> None:
        """Forget everything from position lengths[b] on in each row b."""
        if len(lengths) != self.rows or any(new > old for new, old in zip(lengths, self.lengths, strict=False)):
            raise ValueError(f"cannot cut rows of lengths {self.lengths} to {list(lengths)}.")
        self.lengths = list(lengths)

    def reorder(self, rows: Sequence[int]) -> None:
        """Make row b continue what row rows[b] held: beam search keeps the better half of its rows this way."""
        index = torch.tensor(list(rows), device=self.keys.device)
        self.keys = self.keys.index_select(1, index)
        self.values = self.values.index_select(1, index)
        self.lengths = [self.lengths[row] for row in rows]

    def positions(self, new: int) -> Tensor:
        """Positions of `new` tokens in each row: (B, T) int64, or (1, T) where all rows are equally long.

        Raises ValueError where they do not fit.
        """
        if max(self.lengths) + new > self.capacity:
            raise ValueError(
                f"{max(self.lengths) + new} tokens do not fit a cache of {self.capacity} positions; "
                "shorten the prompt or ask for fewer new tokens."
            )
        equal = len(set(self.lengths)) == 1
        starts = torch.tensor(self.lengths[:1] if equal else self.lengths, device=self.keys.device)
        return starts[:, None] + torch.arange(new, device=self.keys.device)

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add one layer's new (B, H, T, D) keys and values; return all held so far, (B, H, S, D) each."""
        new = key.shape[2]
        longest = max(self.lengths) + new
        keys, values = self.keys[layer], self.values[layer]
        if len(set(self.lengths)) == 1:
            start = self.lengths[0]
            keys[:, :, start : start + new] = key
            values[:, :, start : start + new] = value
        else:
            row = torch.arange(self.rows, device=key.device)[:, None]
            place = self.positions(new)
            keys[row, :, place] = key.transpose(1, 2).to(keys.dtype)
            values[row, :, place] = value.transpose(1, 2).to(values.dtype)
        return keys[:, :, :longest], values[:, :, :longest]

    def advance(self, new: int) -> None:
        """Count `new` tokens as held in every row, once all layers have written them."""
        self.lengths = [length + new for length in self.lengths]
