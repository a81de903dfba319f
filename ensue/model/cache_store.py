"""What the cache keeps for the layers of one pattern: all keys and values, or those that may still be seen.

Near keys are in a ring: position p is in slot p % ring, until a position that much later takes the slot. The summary
positions of a `Fixed` pattern, which every later query sees, have slots of their own behind the ring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ensue.model.patterns import Band, Blocks, Columns, Pattern, Summaries, TwoWay

# Legend: N layers, B rows, T new tokens, H heads, D head width, S slots.


@dataclass(frozen=True)
class Kept:
    """What later queries may still see: the newest positions, as far back as `near` goes, and `summaries` before them.

    Where `near` is None, all positions.
    """

    near: Band | Blocks | None
    summaries: Summaries | None = None

    @property
    def reach(self) -> int | None:
        """How many of the newest positions a query sees at most, itself among them; None for all."""
        match self.near:
            case Band(reach):
                return reach
            case Blocks(stride):
                return stride
        return None

    def first(self, query: int) -> int:
        """The first position that a query, or one after it, sees near itself."""
        match self.near:
            case Band(reach):
                return max(0, query - reach + 1)
            case Blocks(stride):
                return query // stride * stride
        return 0


def kept_of(pattern: Pattern) -> Kept:
    """What a cache has to keep for a pattern."""
    near: Band | Blocks | None = None
    summaries = None
    for part in () if isinstance(pattern, TwoWay) else pattern.parts:
        match part:
            case Band() | Blocks():
                near = part
            case Summaries():
                summaries = part
            case Columns():
                return Kept(None)  # each position is in the column of some later query
    return Kept(near, summaries)


class Store:
    """Keys and values of the layers that share a pattern, (2, N, B, H, S, D).

    Of row b it holds positions low[b] to top[b] - 1 in the ring, and of those before low[b] the summaries.
    """

    def __init__(
        self,
        pattern: Pattern,
        shape: tuple[int, int, int, int],
        *,
        capacity: int,
        spare: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """`shape` is (N, B, H, D); `spare` is how many new tokens a pass may bring before the ring grows for it."""
        layers, rows, self.heads, width = shape
        kept = kept_of(pattern)
        reach, self.summaries = kept.reach, kept.summaries
        far = summary_count(self.summaries, capacity, heads=self.heads)
        self.keeps_all = reach is None or reach - 1 + spare + far >= capacity
        if reach is None or self.keeps_all:
            reach, spare, far, self.summaries = capacity + 1, 0, 0, None
        self.reach, self.least_ring = reach, reach - 1 + spare
        self.ring = self.least_ring
        slots = self.ring + far
        self.held = torch.zeros(2, layers, rows, self.heads, slots, width, device=device, dtype=dtype)
        self.low, self.top = [0] * rows, [0] * rows

    def lacks(self, row: int, length: int) -> bool:
        """Whether something that position `length` of a row may see is no longer held."""
        return length > 0 and max(0, length - self.reach + 1) < self.low[row]

    def begin(self, lengths: Sequence[int], new: int) -> None:
        """Make room for `new` tokens after each row's length, so that nothing they may see is overwritten.

        A row that is cut back to its length after the pass goes on as if the pass had not been.
        """
        ring = max(self.least_ring, min(self.reach - 1, max(lengths)) + new)
        if ring != self.ring and not self.keeps_all:
            self._resize(ring, lengths)
        self.top = [length + new for length in lengths]
        self.low = [
            0 if length == 0 else max(low, top - self.ring)
            for length, low, top in zip(lengths, self.low, self.top, strict=True)
        ]

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put (B, H, T, D) of the pass that has begun in its slots; all that may be seen, (B, H, S, D) each."""
        new = key.shape[2]
        for held, given in zip(self.held[:, layer], (key, value), strict=True):
            if len(set(self.top)) == 1:
                start = (self.top[0] - new) % self.ring
                first = min(new, self.ring - start)
                held[:, :, start : start + first] = given[:, :, :first]
                held[:, :, : new - first] = given[:, :, first:]
            else:
                row = torch.arange(len(self.top), device=key.device)[:, None]
                held[row, :, self._new_positions(new) % self.ring] = given.transpose(1, 2).to(held.dtype)
            if self.summaries is not None:
                self._write_summaries(self.summaries, held, given)
        keys, values = self.held[:, layer, :, :, : self._used(new)]
        return keys, values

    def places(self, new: int) -> Tensor | None:
        """The position in each slot that `write` returns, (1 or B, 1 or H, S) int64, -1 where there is nothing to see.

        None where slot p holds position p.
        """
        if self.keeps_all or max(self.top) == new:
            return None
        rows = 1 if len(set(self.top)) == len(set(self.low)) == 1 else len(self.top)
        device, used = self.held.device, self._used(new)
        top = torch.tensor(self.top[:rows], device=device)[:, None, None]
        low = torch.tensor(self.low[:rows], device=device)[:, None, None]
        slot = torch.arange(min(used, self.ring), device=device)
        near = top - 1 - (top - 1 - slot) % self.ring  # the newest position there can be in the slot
        near = near.masked_fill(near < low, -1)
        if self.summaries is None:
            return near
        far = summary_positions(self.summaries, self.heads, used - self.ring, device=device)[None].expand(rows, -1, -1)
        return torch.cat([near.expand(-1, self.heads, -1), far.masked_fill(far >= low, -1)], dim=2)

    def reorder(self, rows: Sequence[int]) -> None:
        self.held = self.held.index_select(2, torch.tensor(list(rows), device=self.held.device))
        self.low, self.top = [self.low[row] for row in rows], [self.top[row] for row in rows]

    def replace(self, rows: Sequence[int], other: Store, lengths: Sequence[int]) -> None:
        """Make each of `rows` hold what a row of `other`, of the same pattern and capacity, holds up to `lengths`."""
        low = self._take(other.held, other.ring, rows, lengths)
        for place, row in enumerate(rows):
            self.low[row], self.top[row] = max(other.low[place], low[place]), lengths[place]

    def _resize(self, ring: int, lengths: Sequence[int]) -> None:
        held, old = self.held, self.ring
        self.held = held.new_zeros(*held.shape[:4], ring + held.shape[4] - old, held.shape[5])
        self.ring = ring
        low = self._take(held, old, range(len(lengths)), lengths)
        self.low = [max(before, now) for before, now in zip(self.low, low, strict=True)]

    def _take(self, held: Tensor, ring: int, rows: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """Copy into `rows` what the next position of each row of `held` may see; the first position copied to each.

        Positions below 0 are copied too, from and to slots that hold nothing.
        """
        row = torch.tensor(list(rows), device=held.device)
        count = min(self.reach - 1, max(lengths))
        place = torch.tensor(lengths, device=held.device)[:, None] - torch.arange(1, count + 1, device=held.device)
        source = torch.arange(len(rows), device=held.device)[:, None]
        self.held[:, :, row[:, None], :, place % self.ring] = held[:, :, source, :, place % ring]
        self.held[:, :, row, :, self.ring :] = held[:, :, :, :, ring:]
        return [length - count for length in lengths]

    def _new_positions(self, new: int) -> Tensor:
        """(B, T) of the pass that has begun."""
        top = torch.tensor(self.top, device=self.held.device)[:, None]
        return top - new + torch.arange(new, device=self.held.device)

    def _write_summaries(self, part: Summaries, held: Tensor, given: Tensor) -> None:
        """Put the summary positions among the new ones into their slots."""
        slot = summary_slots(part, self.heads, self._new_positions(given.shape[2]))
        row, head, new = (slot >= 0).nonzero(as_tuple=True)
        held[row, head, self.ring + slot[row, head, new]] = given[row, head, new].to(held.dtype)

    def _used(self, new: int) -> int:
        """How many slots, counted from the first, anything can be in that the new tokens see."""
        longest = max(self.top)
        if self.summaries is None or longest == new:
            return min(self.ring, longest)
        return self.ring + summary_count(self.summaries, longest, heads=self.heads)


def summary_count(part: Summaries | None, length: int, *, heads: int) -> int:
    """How many slots the summary positions among `length` tokens take: as many as the head with the most has."""
    if part is None:
        return 0
    blocks, inside = divmod(length, part.stride)
    earliest: int = part.start(min(heads, part.runs) - 1)
    return blocks * part.summary + min(max(inside - earliest, 0), part.summary)


def summary_slots(part: Summaries, heads: int, positions: Tensor) -> Tensor:
    """(B, T) positions -> (B, H, T): the slot of each among its head's summaries, -1 where it is none of them."""
    start: Tensor = part.start(torch.arange(heads, device=positions.device))
    place = positions[:, None]
    inside = place % part.stride - start[:, None]
    slot = place // part.stride * part.summary + inside
    return slot.masked_fill((inside < 0) | (inside >= part.summary), -1)


def summary_positions(part: Summaries, heads: int, slots: int, *, device: torch.device) -> Tensor:
    """(H, slots): the position that each slot is for."""
    slot = torch.arange(slots, device=device)
    start: Tensor = part.start(torch.arange(heads, device=device))
    return slot // part.summary * part.stride + start[:, None] + slot % part.summary
