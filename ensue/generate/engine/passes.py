"""A forward pass over pages: in one C++ call where the model can be packed, through `GPT.forward` elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from ensue.generate.engine.pages import PAGE
from ensue.generate.forward import reading
from ensue.generate.packed import PackedModel
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
    """What the engine runs: it holds the pages, all of the memory that the cache will ever take."""

    config: GPTConfig

    def run(self, tokens: Tokens, tables: Tensor, wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Put tokens into their pages; (Q, W) states and (Q, V) logits, float, of those that are `wanted`.

        `tables` (R, P) int32 are the pages of each row.
        """


class PackedPasses:
    """The C++ pass. A token's numbers are the same bits in any company."""

    def __init__(self, model: PackedModel, pages: int) -> None:
        self.model, self.config = model, model.config
        self.cache = model.new_cache(pages)

    def run(self, tokens: Tokens, tables: Tensor, wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
        states, logits = self.model.run(
            tokens.ids, tokens.places, tokens.rows, tables=tables, cache=self.cache, wanted=wanted
        )
        assert logits is not None
        return states, logits


class PlainPasses:
    """`GPT.forward` with keys and values in pages: rows with one new token together, others one by one."""

    def __init__(self, model: GPT, pages: int) -> None:
        self.model, self.config = model, model.config
        weight = model.token_embedding.weight
        shape = (2, self.config.layers, pages, self.config.heads, PAGE, self.config.head_width)
        self.held = torch.zeros(shape, dtype=weight.dtype, device=weight.device)

    def run(self, tokens: Tokens, tables: Tensor, wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
        spans = [list(group) for _, group in groupby(range(len(tokens.ids)), key=lambda i: tokens.rows[i])]
        single = [span[0] for span in spans if len(span) == 1]
        groups = [[[place] for place in single]] if single else []
        groups += [[span] for span in spans if len(span) > 1]
        states = torch.empty(len(tokens.ids), self.config.width, device=self.held.device)
        with reading(self.model):
            for group in groups:
                ids = torch.tensor([[tokens.ids[i] for i in span] for span in group], device=self.held.device)
                rows = [tokens.rows[span[0]] for span in group]
                cache = _Paged(
                    self.held, tables[rows].long().to(self.held.device), [tokens.places[s[0]] for s in group]
                )
                hidden = self.model.hidden(ids, cache=cache).float()
                states[[i for span in group for i in span]] = hidden.flatten(0, 1)
            chosen = states[list(wanted)]
            return chosen, self.model.logits(chosen.to(self.held.dtype)).float()


class _Paged(Cache):
    """A pass's view of the pages as the cache that `GPT.forward` knows; slot p of a row holds position p."""

    def __init__(self, held: Tensor, tables: Tensor, lengths: list[int]) -> None:
        self._held, self._tables = held, tables
        self.lengths = lengths
        self.capacity = tables.shape[1] * PAGE
        self.device = held.device

    def begin(self, new: int) -> Tensor:
        self._used = -(-(max(self.lengths) + new) // PAGE)
        starts = torch.tensor(self.lengths, device=self.device)
        self._positions = starts[:, None] + torch.arange(new, device=self.device)  # (B, T)
        return self._positions

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        pages = self._tables.gather(1, self._positions // PAGE)  # (B, T)
        for held, given in zip(self._held[:, layer], (key, value), strict=True):
            held[pages, :, self._positions % PAGE] = given.transpose(1, 2).to(held.dtype)
        used = self._tables[:, : self._used]
        keys, values = (held[used].transpose(1, 2).flatten(2, 3) for held in self._held[:, layer])  # (B, H, S, D)
        longest = max(self.lengths) + self._positions.shape[1]
        return keys[:, :, :longest], values[:, :, :longest]

    def places(self, pattern: Pattern, new: int) -> Tensor | None:
        return None

    def advance(self, new: int) -> None:
        self.lengths = [length + new for length in self.lengths]
