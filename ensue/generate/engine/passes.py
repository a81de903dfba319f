"""A forward pass over pages: in one C++ call where the model can be packed, through `GPT.forward` elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from ensue.generate.engine.groups import Group, groups_of
from ensue.generate.engine.pages import PAGE
from ensue.generate.forward import reading
from ensue.generate.packed import PackedModel
from ensue.generate.screen import Greatest
from ensue.model.cache import Cache
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import Pattern

# Legend: N tokens of a pass, R requests, P pages of a request, Q states asked for, S keys held, V vocabulary.


@dataclass(frozen=True)
class Tokens:
    """Tokens of a pass: what each is, where it stands, and the row of the page table that it belongs to.

    Those of one row stand together and in order; all that comes before them is in the pages already.
    """

    ids: Sequence[int]
    places: Sequence[int]
    rows: Sequence[int]


class Passes(Protocol):
    """What the engine runs. It holds the pages of each group of layers, all that the cache will ever take."""

    config: GPTConfig
    groups: tuple[Group, ...]
    pages: tuple[int, ...]

    def run(
        self, tokens: Tokens, tables: Sequence[Tensor], wanted: Sequence[int], greatest: Greatest | None = None
    ) -> tuple[Tensor, Tensor]:
        """Put tokens into their pages; (Q, W) states and (Q, V) logits, float, of those that are `wanted`.

        `tables`, (R, P) int32 for each group, are the pages of each row. Where only the `greatest` logits are asked
        for, the others may be -inf.
        """


class PackedPasses:
    """The C++ pass. A token's numbers are the same bits in any company."""

    def __init__(self, model: PackedModel, pages: Sequence[int]) -> None:
        """`pages` of each group of layers; see `groups_of`."""
        self.model, self.config, self.pages = model, model.config, tuple(pages)
        self.groups = groups_of(model.config)
        self.caches = model.new_caches(self.pages)

    def run(
        self, tokens: Tokens, tables: Sequence[Tensor], wanted: Sequence[int], greatest: Greatest | None = None
    ) -> tuple[Tensor, Tensor]:
        states, logits = self.model.run(
            *(tokens.ids, tokens.places, tokens.rows),
            tables=tables,
            caches=self.caches,
            wanted=wanted,
            greatest=greatest,
        )
        assert logits is not None
        return states, logits


class PlainPasses:
    """`GPT.forward` with keys and values in pages: rows with one new token together, others one by one."""

    def __init__(self, model: GPT, pages: Sequence[int]) -> None:
        """`pages` of each group of layers; see `groups_of`."""
        self.model, self.config, self.pages = model, model.config, tuple(pages)
        self.groups = groups_of(model.config)
        weight, heads, width = model.token_embedding.weight, self.config.heads, self.config.head_width
        self.held = [
            torch.zeros(2, len(group.layers), count, heads, PAGE, width, dtype=weight.dtype, device=weight.device)
            for group, count in zip(self.groups, self.pages, strict=True)
        ]

    def run(
        self, tokens: Tokens, tables: Sequence[Tensor], wanted: Sequence[int], greatest: Greatest | None = None
    ) -> tuple[Tensor, Tensor]:
        spans = [list(group) for _, group in groupby(range(len(tokens.ids)), key=lambda i: tokens.rows[i])]
        single = [span[0] for span in spans if len(span) == 1]
        passes = [[[place] for place in single]] if single else []
        passes += [[span] for span in spans if len(span) > 1]
        device, dtype = self.held[0].device, self.held[0].dtype
        states = torch.empty(len(tokens.ids), self.config.width, device=device)
        with reading(self.model):
            for together in passes:
                ids = torch.tensor([[tokens.ids[i] for i in span] for span in together], device=device)
                rows = [tokens.rows[span[0]] for span in together]
                of_rows = [table[rows].long().to(device) for table in tables]
                lengths = [tokens.places[span[0]] for span in together]
                hidden = self.model.hidden(ids, cache=_Paged(self, of_rows, lengths)).float()
                states[[i for span in together for i in span]] = hidden.flatten(0, 1)
            chosen = states[list(wanted)]
            return chosen, self.model.logits(chosen.to(dtype)).float()


class _Paged(Cache):
    """A pass's view of the pages as the cache that `GPT.forward` knows; slot p of a row holds position p.

    Pages that a banded layer has written over hold later positions, which its mask hides at the earlier ones.
    """

    def __init__(self, passes: PlainPasses, tables: Sequence[Tensor], lengths: list[int]) -> None:
        self._held, self._tables = passes.held, tables
        self._groups = {
            layer: (number, place)
            for number, group in enumerate(passes.groups)
            for place, layer in enumerate(group.layers)
        }
        self.lengths = lengths
        self.capacity = tables[0].shape[1] * PAGE
        self.device = passes.held[0].device

    def begin(self, new: int) -> Tensor:
        self._used = -(-(max(self.lengths) + new) // PAGE)
        starts = torch.tensor(self.lengths, device=self.device)
        self._positions = starts[:, None] + torch.arange(new, device=self.device)  # (B, T)
        return self._positions

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        group, place = self._groups[layer]
        both, table = self._held[group][:, place], self._tables[group]
        pages = table.gather(1, self._positions // PAGE)  # (B, T)
        for held, given in zip(both, (key, value), strict=True):
            held[pages, :, self._positions % PAGE] = given.transpose(1, 2).to(held.dtype)
        used = table[:, : self._used]
        keys, values = (held[used].transpose(1, 2).flatten(2, 3) for held in both)  # (B, H, S, D)
        longest = max(self.lengths) + self._positions.shape[1]
        return keys[:, :, :longest], values[:, :, :longest]

    def places(self, pattern: Pattern, new: int) -> Tensor | None:
        return None

    def advance(self, new: int) -> None:
        self.lengths = [length + new for length in self.lengths]
