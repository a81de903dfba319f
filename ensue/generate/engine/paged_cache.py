"""Pages as the cache that `GPT.forward` knows: where the new tokens go, and which pages still show something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ensue.generate.engine.groups import Group, kept_by
from ensue.generate.engine.pages import PAGE
from ensue.model.cache import Cache
from ensue.model.cache_store import summary_count, summary_positions, summary_slots
from ensue.model.config import GPTConfig
from ensue.model.patterns import Pattern, Summaries

# Legend: B rows, T new tokens, H heads, D head width, P pages, S slots that are read, N new summaries.


@dataclass(frozen=True)
class _Far:
    """Summaries in a pass: the (B, P) pages that are read, the (B, H, S) positions in them, -1 for none, and the row,
    head and number (N,) of each new one with its page, head and place there."""

    pages: Tensor
    places: Tensor
    source: tuple[Tensor, ...]
    target: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Seen:
    """What a pass reads of a group: (B, P) pages, and the (B, 1 or H, S) positions in them and in the summaries',
    -1 for what is not to be seen; None where they are 0, 1, 2, ..."""

    pages: Tensor
    places: Tensor | None = None
    far: _Far | None = None


class PagedCache(Cache):
    """A pass's view of the pages. All new tokens of a row are in order, and what they see is in pages already.

    Of near positions a row has those from the first on that its new tokens see, and before them its summaries. A row
    without pages for summaries has all its pages.
    """

    def __init__(
        self,
        config: GPTConfig,
        groups: Sequence[Group],
        *,
        held: Sequence[Tensor],
        tables: Sequence[Tensor],
        lengths: Sequence[int],
    ) -> None:
        """`held` (2, layers, pages, H, 16, D) and the rows' `tables` (B, P) int64 are those of each group."""
        self._config, self._groups, self._held, self._tables = config, groups, held, tables
        near = [(number, group) for number, group in enumerate(groups) if not group.far]
        self._places = {layer: (number, place) for number, group in near for place, layer in enumerate(group.layers)}
        self._numbers = {group.kept: number for number, group in near}
        self._far = {group.kept: number for number, group in enumerate(groups) if group.far}
        self.lengths = list(lengths)
        self.capacity = tables[0].shape[1] * PAGE
        self.device = held[0].device

    def begin(self, new: int) -> Tensor:
        starts = torch.tensor(self.lengths, device=self.device)
        self._positions = starts[:, None] + torch.arange(new, device=self.device)  # (B, T)
        self._seen = {number: self._see(number, new) for number in self._numbers.values()}
        return self._positions

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        number, place = self._places[layer]
        seen = self._seen[number]
        pages = self._tables[number].gather(1, self._positions // PAGE)  # (B, T)
        longest = None if seen.places is not None else max(self.lengths) + key.shape[2]
        all_keys_or_values = []
        for part, given in enumerate((key, value)):
            held = self._held[number][part, place]
            held[pages, :, self._positions % PAGE] = given.transpose(1, 2).to(held.dtype)
            read = _read(held, seen.pages)[:, :, :longest]
            if seen.far is not None:
                held = self._held[self._far[self._groups[number].kept]][part, place]
                held[seen.far.target] = given[seen.far.source].to(held.dtype)
                read = torch.cat([read, _read(held, seen.far.pages)], dim=2)
            all_keys_or_values.append(read)
        keys, values = all_keys_or_values
        return keys, values

    def places(self, pattern: Pattern, new: int) -> Tensor | None:
        return self._seen[self._numbers[kept_by(pattern, self._config)]].places

    def advance(self, new: int) -> None:
        self.lengths = [length + new for length in self.lengths]

    def _see(self, number: int, new: int) -> _Seen:
        group, table = self._groups[number], self._tables[number]
        tops = [length + new for length in self.lengths]
        if group.kept.near is None:
            return _Seen(table[:, : -(-max(tops) // PAGE)])
        lows = [group.kept.first(length) for length in self.lengths]
        summaries, far = group.kept.summaries, None
        if summaries is not None:
            far_table = self._tables[self._far[group.kept]]
            compact = (far_table[:, 0] >= 0).tolist()
            lows = [low if dropped else 0 for low, dropped in zip(lows, compact, strict=True)]
            if any(compact):
                far = self._see_summaries(summaries, far_table, lows)
        most = max((top - 1) // PAGE - low // PAGE + 1 for low, top in zip(lows, tops, strict=True))
        low = torch.tensor(lows, device=self.device)[:, None]
        column = low // PAGE + torch.arange(most, device=self.device)  # (B, P)
        pages = table.gather(1, column.clamp(max=table.shape[1] - 1))
        near = (column[:, :, None] * PAGE + torch.arange(PAGE, device=self.device)).flatten(1)  # (B, S)
        places = near.masked_fill(near < low, -1)[:, None]
        if far is None:
            return _Seen(pages, places)
        return _Seen(pages, torch.cat([places.expand(-1, far.places.shape[1], -1), far.places], dim=2), far)

    def _see_summaries(self, part: Summaries, table: Tensor, lows: Sequence[int]) -> _Far:
        """The summaries before the first near position of each row, 0 for a row that has none."""
        heads = self._config.heads
        count = -(-max(summary_count(part, low, heads=heads) for low in lows) // PAGE)
        places = summary_positions(part, heads, count * PAGE, device=self.device)
        places = places.expand(len(lows), -1, -1)
        places = places.masked_fill(places >= torch.tensor(lows, device=self.device)[:, None, None], -1)
        slots = summary_slots(part, heads, self._positions)  # (B, H, T)
        row, head, new = (slots >= 0).nonzero(as_tuple=True)
        slot = slots[row, head, new]
        page = table[row, slot // PAGE]
        kept = page >= 0  # of the last block none is seen again
        source, target = (row, head, new), (page, head, slot % PAGE)
        return _Far(
            table[:, :count].clamp(min=0),
            places,
            source=tuple(each[kept] for each in source),
            target=tuple(each[kept] for each in target),
        )


def _read(held: Tensor, pages: Tensor) -> Tensor:
    """(pages, H, 16, D) and (B, P) -> (B, H, 16 P, D)."""
    return held[pages].transpose(1, 2).flatten(2, 3)
