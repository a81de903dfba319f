"""The key-value cache: a value that the caller makes, passes in, and may cut back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ensue.model.cache_store import Store
from ensue.model.config import GPTConfig
from ensue.model.patterns import Pattern

# Legend: B rows, T new tokens, H heads, D head width, S slots that hold keys.

SPARE = 32
"""Tokens that a pass may bring before a ring grows for it: more than a decoding step and its drafts have."""


class Cache:
    """Keys and values of every layer for B rows, each row with a length of its own.

    A forward pass with T tokens writes row b at positions lengths[b] .. lengths[b] + T - 1 and adds T to every length.
    Rows of different lengths are padded on the right: run the pass, then `cut` each row to its true length. What lies
    beyond a row's length is never seen and is overwritten by what comes next.

    A layer keeps what its pattern can still show: of a banded one the last `window` positions, of a fixed one the last
    block and the summaries. A row can be cut back to where a pass began, or further as long as nothing is missing.
    """

    def __init__(
        self,
        config: GPTConfig,
        rows: int,
        *,
        capacity: int,
        device: torch.device,
        dtype: torch.dtype,
        spare: int = SPARE,
    ) -> None:
        by_pattern: dict[Pattern, list[int]] = {}
        for layer in range(config.layers):
            by_pattern.setdefault(config.pattern(layer), []).append(layer)
        shape = rows, config.heads, config.head_width
        self._stores = {
            pattern: Store(pattern, (len(layers), *shape), capacity=capacity, spare=spare, device=device, dtype=dtype)
            for pattern, layers in by_pattern.items()
        }
        self._layers = {layer: (p, place) for p, layers in by_pattern.items() for place, layer in enumerate(layers)}
        self.lengths: list[int] = [0] * rows
        self.capacity, self.spare = capacity, spare
        self.device = device

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def bytes(self) -> int:
        """Memory held now. A pass of many tokens holds all of them until the next one begins."""
        return sum(store.held.nbytes for store in self._stores.values())

    @property
    def fresh(self) -> bool:
        """Whether nothing is held yet."""
        return not any(self.lengths)

    def cut(self, lengths: Sequence[int]) -> None:
        """Forget everything from position lengths[b] on in each row b."""
        if len(lengths) != self.rows or any(new > old for new, old in zip(lengths, self.lengths, strict=False)):
            raise ValueError(f"cannot cut rows of lengths {self.lengths} to {list(lengths)}.")
        for row, length in enumerate(lengths):
            if any(store.lacks(row, length) for store in self._stores.values()):
                raise ValueError(
                    f"cannot cut row {row} from {self.lengths[row]} tokens to {length}: a sparse layer dropped what "
                    "comes before. Cut it to where the last pass began or to 0, or read the row anew and `replace` it."
                )
        self.lengths = list(lengths)

    def reorder(self, rows: Sequence[int]) -> None:
        """Make row b continue what row rows[b] held: beam search keeps the better half of its rows this way."""
        for store in self._stores.values():
            store.reorder(rows)
        self.lengths = [self.lengths[row] for row in rows]

    def replace(self, rows: Sequence[int], other: Cache) -> None:
        """Make each of `rows` continue what a row of `other`, a cache made like this one, holds."""
        if other.rows != len(rows) or (other.capacity, other.spare) != (self.capacity, self.spare):
            raise ValueError(
                f"cannot replace {len(rows)} rows of capacity {self.capacity} by {other.rows} of {other.capacity}: "
                "make the other cache with the same arguments, for as many rows as it replaces."
            )
        for pattern, store in self._stores.items():
            store.replace(rows, other._stores[pattern], other.lengths)
        for row, length in zip(rows, other.lengths, strict=True):
            self.lengths[row] = length

    def begin(self, new: int) -> Tensor:
        """Make room for `new` tokens in each row; their positions, (B, T) int64, or (1, T) where rows are equally long.

        Raises ValueError where they do not fit.
        """
        if max(self.lengths) + new > self.capacity:
            raise ValueError(
                f"{max(self.lengths) + new} tokens do not fit a cache of {self.capacity} positions; "
                "shorten the prompt or ask for fewer new tokens."
            )
        for store in self._stores.values():
            store.begin(self.lengths, new)
        equal = len(set(self.lengths)) == 1
        starts = torch.tensor(self.lengths[:1] if equal else self.lengths, device=self.device)
        return starts[:, None] + torch.arange(new, device=self.device)

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add one layer's new (B, H, T, D) keys and values; return what it holds, (B, H, S, D) each.

        They are views, which the next pass changes; what is where, `places` says.
        """
        pattern, place = self._layers[layer]
        return self._stores[pattern].write(place, key, value)

    def places(self, pattern: Pattern, new: int) -> Tensor | None:
        """The positions of what `write` returns in a pass of `new` tokens, (1 or B, 1 or H, S) int64, -1 for none.

        None where they are 0, 1, 2, ...
        """
        return self._stores[pattern].places(new)

    def advance(self, new: int) -> None:
        """Count `new` tokens as held in every row, once all layers have written them."""
        self.lengths = [length + new for length in self.lengths]
