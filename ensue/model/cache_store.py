"""What the cache keeps for the layers of one pattern: all keys and values, or those that may still be seen.

Near keys are in a ring: position p is in slot p % ring, until a position that much later takes the slot. The summary
positions of a `Fixed` pattern, which every later query sees, have slots of their own behind the ring.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ensue.model.patterns import Band, Blocks, Columns, Pattern, Summaries, TwoWay

# Legend: N layers, B rows, T new tokens, H heads, D head width, S slots.


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
        reach, self.summaries = _kept(pattern)
        self.keeps_all = reach is None or reach - 1 + spare + _slots(self.summaries, capacity) >= capacity
        if reach is None or self.keeps_all:
            reach, spare, self.summaries = capacity + 1, 0, None
        self.reach, self.least_ring = reach, reach - 1 + spare
        self.ring = self.least_ring
        slots = self.ring + _slots(self.summaries, capacity)
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
        far = _summary_positions(self.summaries, self.heads, used - self.ring, device)[None].expand(rows, -1, -1)
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
        place = self._new_positions(given.shape[2])[:, None]  # (B, 1, T)
        head = torch.arange(self.heads, device=given.device)
        inside = place % part.stride - part.start(head)[:, None]  # (B, H, T)
        row, head, new = ((inside >= 0) & (inside < part.summary)).nonzero(as_tuple=True)
        slot = place[row, 0, new] // part.stride * part.summary + inside[row, head, new]
        held[row, head, self.ring + slot] = given[row, head, new].to(held.dtype)

    def _used(self, new: int) -> int:
        """How many slots, counted from the first, anything can be in that the new tokens see."""
        longest = max(self.top)
        if self.summaries is None or longest == new:
            return min(self.ring, longest)
        return self.ring + _slots(self.summaries, longest)


def _kept(pattern: Pattern) -> tuple[int | None, Summaries | None]:
    """How many of the newest positions a query may see, itself among them, and what it sees further back.

    None where no position can ever be dropped.
    """
    reach, summaries = 1, None
    for part in () if isinstance(pattern, TwoWay) else pattern.parts:
        match part:
            case Band():
                reach = max(reach, part.reach)
            case Blocks():
                reach = max(reach, part.stride)
            case Summaries():
                summaries = part
            case Columns():
                return None, None
    return (None, None) if isinstance(pattern, TwoWay) else (reach, summaries)


def _slots(summaries: Summaries | None, length: int) -> int:
    """How many summary positions `length` tokens have, those of a block that has just begun included."""
    return 0 if summaries is None else -(-length // summaries.stride) * summaries.summary


def _summary_positions(part: Summaries, heads: int, slots: int, device: torch.device) -> Tensor:
    """(H, slots): what the slots behind the ring are for."""
    slot = torch.arange(slots, device=device)
    start: Tensor = part.start(torch.arange(heads, device=device))
    return slot // part.summary * part.stride + start[:, None] + slot % part.summary
