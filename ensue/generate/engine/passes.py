"""A forward pass over pages: in one C++ call where the model can be packed, through `GPT.forward` elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from ensue.generate.engine.groups import Group, groups_of
from ensue.generate.engine.paged_cache import PagedCache
from ensue.generate.engine.pages import PAGE
from ensue.generate.forward import reading
from ensue.generate.packed import PackedModel
from ensue.generate.screen import Greatest
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT

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

    def states(self, tokens: Tokens, tables: Sequence[Tensor]) -> Tensor:
        """Put tokens into their pages; the (N, W) states of all of them, float, without the work of their logits."""


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

    def states(self, tokens: Tokens, tables: Sequence[Tensor]) -> Tensor:
        return self.model.run(
            *(tokens.ids, tokens.places, tokens.rows),
            tables=tables,
            caches=self.caches,
            wanted=range(len(tokens.ids)),
            logits=False,
        )[0]


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
        chosen = self.states(tokens, tables)[list(wanted)]
        with reading(self.model):
            return chosen, self.model.logits(chosen.to(self.held[0].dtype)).float()

    def states(self, tokens: Tokens, tables: Sequence[Tensor]) -> Tensor:
        spans = [list(group) for _, group in groupby(range(len(tokens.ids)), key=lambda i: tokens.rows[i])]
        single = [span[0] for span in spans if len(span) == 1]
        passes = [[[place] for place in single]] if single else []
        passes += [[span] for span in spans if len(span) > 1]
        device = self.held[0].device
        states = torch.empty(len(tokens.ids), self.config.width, device=device)
        with reading(self.model):
            for together in passes:
                ids = torch.tensor([[tokens.ids[i] for i in span] for span in together], device=device)
                rows = [tokens.rows[span[0]] for span in together]
                of_rows = [table[rows].long().to(device) for table in tables]
                lengths = [tokens.places[span[0]] for span in together]
                cache = PagedCache(self.config, self.groups, held=self.held, tables=of_rows, lengths=lengths)
                hidden = self.model.hidden(ids, cache=cache).float()
                states[[i for span in together for i in span]] = hidden.flatten(0, 1)
        return states
