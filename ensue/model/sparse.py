"""Sparse attention in O(n w) and O(n sqrt n) time and memory, forward and backward (Child et al. 2019, section 5).

A pattern's visible pairs come in a few parts (`patterns`), each of which is plain attention over shorter sequences
(`sparse_layout`). Every part has a softmax of its own; they are merged by their log-sum-exps.

Legend: B rows, H heads, T tokens, D head width.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ensue.model.patterns import Pattern
from ensue.model.sparse_flex import flex_sparse_attention
from ensue.model.sparse_layout import layouts, runs_within
from ensue.model.sparse_native import attend_in_place, attend_in_place_backward, kernels_for
from ensue.model.sparse_tiles import attend, attend_backward, statistic_dtype

CHUNK = 1024
"""Tokens whose fp32 copies are made at a time."""


def sparse_attention(
    query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, *, scale: float, segments: Tensor | None = None
) -> Tensor:
    """softmax(QK^T scale) V over the pairs that `pattern` shows, of (B, H, T, D) tensors with any strides.

    `segments` (B, T) numbers documents that must not see each other. Not for `torch.compile` to trace on a CPU. Raises
    ValueError for a two-way pattern, and where a document's tokens are not neighbours.
    """
    if torch.is_autocast_enabled(query.device.type):  # as autocast does for torch's own attention
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if query.is_cuda:
        return flex_sparse_attention(query, key, value, pattern, scale=scale, segments=segments)
    mixed: Tensor = _SparseAttention.apply(query, key, value, pattern, scale, segments)  # type: ignore[no-untyped-call]
    return mixed


class _SparseAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, scale: float, segments: Tensor | None
    ) -> Tensor:
        library = kernels_for(query)
        mixed, lse = None, None  # (B, H, T, D), (B, H, T, 1)
        for layout in layouts(pattern, query.shape, query.device):
            runs = runs_within(layout, segments)
            if library is not None:
                found = attend_in_place(library, layout, query, key, value, runs, scale=scale)
            else:
                found = attend(layout, query, key, value, runs, scale=scale)
            mixed, lse = found if mixed is None or lse is None else _merge(mixed, lse, *found)
        assert mixed is not None
        ctx.save_for_backward(query, key, value, mixed, lse, segments)
        ctx.pattern, ctx.scale, ctx.library = pattern, scale, library
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outers: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mixed, lse, segments = ctx.saved_tensors
        outer = outers[0]
        parts = [(layout, runs_within(layout, segments)) for layout in layouts(ctx.pattern, query.shape, query.device)]
        if ctx.library is not None:
            given = query, key, value, mixed, outer, lse
            found = (attend_in_place_backward(ctx.library, part, *given, runs, scale=ctx.scale) for part, runs in parts)
        else:
            given = query, key, value, outer, lse, _inner(mixed, outer)
            found = (attend_backward(part, *given, runs, scale=ctx.scale) for part, runs in parts)
        return *_added(found), None, None, None


def _added(gradients: Iterable[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """The sum of all, made in the first."""
    return reduce(lambda sums, more: (sums[0].add_(more[0]), sums[1].add_(more[1]), sums[2].add_(more[2])), gradients)


def _merge(mixed: Tensor, lse: Tensor, more: Tensor, more_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Two parts' mixed values (B, H, T, D) and log-sum-exps (B, H, T, 1) as those of both together."""
    both = torch.logaddexp2(lse, more_lse)
    share = (more_lse - both).exp2_()
    for some, some_more, some_share in zip(*(torch.split(x, CHUNK, 2) for x in (mixed, more, share)), strict=True):
        some.copy_(some.to(share.dtype).lerp_(some_more.to(share.dtype), some_share))
    return mixed, both


def _inner(mixed: Tensor, outer: Tensor) -> Tensor:
    """The inner product of the mixed values and their gradient, (B, H, T, 1), in the precision of statistics."""
    inner = mixed.new_empty(*mixed.shape[:3], 1, dtype=statistic_dtype(mixed.dtype))
    for some, some_mixed, some_outer in zip(*(torch.split(x, CHUNK, 2) for x in (inner, mixed, outer)), strict=True):
        some.copy_((some_mixed.to(inner.dtype) * some_outer).sum(-1, keepdim=True))
    return inner
