"""The parts of sparse attention through the CPU kernel for runs of keys in bf16; the twin is `sparse_tiles`.

Tokens stay where they are: a part's sequences are views with strides of their own.

Legend: B rows, H heads, T tokens, S keys, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ensue.core.native import Kernels, kernels
from ensue.model.fused_attention import AttentionShape, AttentionView
from ensue.model.sparse_layout import Layout, Runs


def kernels_for(query: Tensor) -> Kernels | None:
    """The kernels, where they take these (B, H, T, D)."""
    fits = query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.shape[-1] % 32 == 0
    return kernels() if fits else None


def token_major(x: Tensor) -> Tensor:
    """An empty tensor of the shape of x, (B, H, T, D), (B, T, H, D) in memory as the output projection reads it."""
    rows, heads, tokens, width = x.shape
    return x.new_empty(rows, tokens, heads, width).transpose(1, 2)


def attend_in_place(
    library: Kernels, layout: Layout, query: Tensor, key: Tensor, value: Tensor, runs: Runs, *, scale: float
) -> tuple[Tensor, Tensor]:
    """The mixed values (B, H, T, D) and log-sum-exp (B, H, T, 1) of one part; zero and minus infinity where there is
    nothing to see."""
    query, key, value = map(_readable, (query, key, value))
    mixed = token_major(query)
    lse = query.new_empty(query.shape[:3], dtype=torch.float32)[..., None]
    key, value = layout.only_keys(key), layout.only_keys(value)
    for row in range(query.shape[0]):
        columns = (layout.in_place(x[row]) for x in (query, key, value, mixed, lse))
        for seen, q, k, v, out, lse_view in zip(layout.runs_in_place(runs, row), *columns, strict=True):
            found = torch.empty_like(lse_view[..., 0].transpose(1, 2), memory_format=torch.contiguous_format)
            views = (AttentionView.of(x) for x in (q, k, v, out))
            library.call("attention_forward", _shape(q, k, seen, scale), *views, found)
            lse_view[..., 0] = found.transpose(1, 2)
    return mixed, lse


def attend_in_place_backward(
    library: Kernels,
    layout: Layout,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    outer: Tensor,
    lse: Tensor,
    runs: Runs,
    *,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients (B, H, T, D) of one part; `out`, its gradient `outer` and `lse` are those of all parts together."""
    query, key, value, out, outer = map(_readable, (query, key, value, out, outer))
    query_gradient = token_major(query)
    key, value = layout.only_keys(key), layout.only_keys(value)
    key_gradient, value_gradient = token_major(key), token_major(value)
    for row in range(query.shape[0]):
        given = (layout.in_place(x[row]) for x in (query, key, value, out, outer))
        found = (layout.in_place(x[row]) for x in (query_gradient, key_gradient, value_gradient))
        lse_views = layout.in_place(lse[row])
        for seen, lse_view, *views in zip(layout.runs_in_place(runs, row), lse_views, *given, *found, strict=True):
            library.call(
                "attention_backward",
                _shape(views[0], views[1], seen, scale),
                *map(AttentionView.of, views[:5]),
                lse_view[..., 0].transpose(1, 2).contiguous(),
                *map(AttentionView.of, views[5:]),
            )
    return query_gradient, layout.from_only_keys(key_gradient), layout.from_only_keys(value_gradient)


def _readable(x: Tensor) -> Tensor:
    """The kernel reads pairs of neighbours in D."""
    return x if x.stride(3) == 1 and not any(stride % 2 for stride in x.stride()[:3]) else x.contiguous()


def _shape(query: Tensor, key: Tensor, runs: Runs, scale: float) -> AttentionShape:
    """Of (sequences, L, heads, D) and (sequences, S, heads, D)."""
    sequences, queries, heads, width = query.shape
    stride = 0 if runs.shared else queries
    bounds = runs.first.data_ptr(), runs.last.data_ptr(), stride
    return AttentionShape(sequences, heads, queries, key.shape[1], width, scale, *bounds)
