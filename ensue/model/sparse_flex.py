"""The parts of sparse attention through FlexAttention, for GPUs; its autograd makes the backward pass.

Block masks are made from the runs alone, never from a (T, T) mask. Legend: B rows, H heads, T tokens, D head width;
G sequences of a row in a part's layout, L queries and S keys of each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from ensue.model.patterns import Pattern
from ensue.model.sparse_layout import Layout, Runs, layouts, runs_within

BLOCK = 128
"""Queries, and keys, of a block of the block mask: FlexAttention's own default."""


def flex_sparse_attention(
    query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, *, scale: float, segments: Tensor | None
) -> Tensor:
    """What `sparse.sparse_attention` says; compiled on a GPU, written out (and not sparse) elsewhere, for tests."""
    attention: Any = _compiled() if query.is_cuda else flex_attention
    rows = query.shape[0]
    mixed, lse = None, None  # (B, H, T, D), (B, H, T, 1)
    shape = pattern, query.shape, query.device
    for layout, mask in _masked(*shape, segments) if segments is not None else _masked_alike(*shape):
        inputs = (layout.queries(query), layout.keys(key), layout.keys(value))
        grouped = [x.view(rows, -1, *x.shape[1:]) for x in inputs]  # (B, G, L, D), (B, G, S, D)
        found, aux = attention(*grouped, block_mask=mask, scale=scale, return_aux=AuxRequest(lse=True))
        part, part_lse = layout.from_queries(found.flatten(0, 1)), layout.from_queries(aux.lse.flatten(0, 1)[..., None])
        if mixed is None or lse is None:
            mixed, lse = part, part_lse
        else:
            both = torch.logaddexp(lse, part_lse)
            mixed = mixed * (lse - both).exp() + part * (part_lse - both).exp()
            lse = both
    assert mixed is not None
    return mixed.to(query.dtype)


def _masked(
    pattern: Pattern, shape: torch.Size, device: torch.device, segments: Tensor | None
) -> list[tuple[Layout, BlockMask]]:
    """The layouts of (B, H, T, D) with their block masks."""
    parts = [(layout, runs_within(layout, segments)) for layout in layouts(pattern, shape, device)]
    return [(layout, block_mask(runs, rows=shape[0], keys=layout.key_count)) for layout, runs in parts]


@lru_cache(maxsize=16)
def _masked_alike(pattern: Pattern, shape: torch.Size, device: torch.device) -> list[tuple[Layout, BlockMask]]:
    """The same without documents, kept for the next layer and step."""
    return _masked(pattern, shape, device, None)


def block_mask(runs: Runs, *, rows: int, keys: int) -> BlockMask:
    """The runs (1 or M, L) as FlexAttention takes them: the blocks to look at, those of them without a hidden pair, and
    a rule for the pairs of the others."""
    shape = (1, 1) if runs.shared else (rows, runs.first.shape[0] // rows)
    length = runs.first.shape[1]
    first, last = (_in_blocks(bound).view(*shape, -1, BLOCK) for bound in (runs.first, runs.last))
    start = torch.arange(0, keys, BLOCK, device=first.device)  # of each block of keys
    end = (start + BLOCK).clamp(max=keys) - 1
    looked_at = (first.amin(-1, keepdim=True) <= end) & (last.amax(-1, keepdim=True) >= start)
    whole = (first.amax(-1, keepdim=True) <= start) & (last.amin(-1, keepdim=True) >= end)
    return BlockMask.from_kv_blocks(
        *_listed(looked_at & ~whole),
        *_listed(whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=_rule(runs, groups=shape[1]),
        seq_lengths=(length, keys),
    )


def _rule(runs: Runs, *, groups: int) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    def sees(row: Tensor, group: Tensor, query: Tensor, key: Tensor) -> Tensor:
        sequence = row * 0 if runs.shared else row * groups + group
        return (runs.first[sequence, query] <= key) & (key <= runs.last[sequence, query])

    return sees


def _in_blocks(bound: Tensor) -> Tensor:
    """(M, L) filled up to whole blocks of queries with its last value."""
    return torch.cat([bound, bound[:, -1:].expand(-1, -bound.shape[1] % BLOCK)], dim=1)


def _listed(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """(.., blocks of queries, blocks of keys) -> how many are chosen in each row, and all indices, the chosen first."""
    order = chosen.int().argsort(dim=-1, descending=True, stable=True)
    return chosen.sum(-1, dtype=torch.int32), order.int()


@cache
def _compiled() -> Callable[..., Any]:
    compiled: Callable[..., Any] = torch.compile(flex_attention, dynamic=False)
    return compiled
