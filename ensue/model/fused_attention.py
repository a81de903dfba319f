"""Attention as one CPU kernel in bf16, forward and backward, with what is done to queries and keys before they meet.

The twins are in `attention` (scaled dot products under `visibility`) and in `norm` and `rotary`. Scores are never held:
memory grows with T. Softmax statistics are fp32.

Legend: B rows, T tokens, H heads, D head width, W width.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ensue.core.native import Kernels
from ensue.model.patterns import Banded, Dense, Pattern, TwoWay
from ensue.model.rotary import Rotation
from ensue.model.segments import in_order


def can_fuse_attention(qkv: Tensor, pattern: Pattern, heads: int) -> bool:
    """Whether `fused_attention` takes these: every query sees one run of keys, and heads fill vectors."""
    width = qkv.shape[-1] // 3 // heads
    return isinstance(pattern, Dense | Banded | TwoWay) and width % 32 == 0 and qkv.dtype == torch.bfloat16


@dataclass(frozen=True)
class HeadNorms:
    """RMSNorm of queries and keys over each head: gains (D,) and epsilon."""

    query_gain: Tensor
    key_gain: Tensor
    epsilon: float


def fused_attention(
    kernels: Kernels,
    qkv: Tensor,
    *,
    heads: int,
    pattern: Pattern,
    scale: float,
    segments: Tensor | None,
    norms: HeadNorms | None,
    rotation: Rotation | None,
) -> Tensor:
    """(B, T, 3W) bf16 -> (B, T, W): norms and rotation of queries and keys where given, then softmax(QK^T scale) V.

    `segments` (B, T) numbers documents that must not see each other. Memory grows with T, never with T x T.
    """
    first, last = _bounds(pattern, qkv.shape[1], segments)
    gains = None if norms is None else torch.stack((norms.query_gain, norms.key_gain))  # (2, D)
    epsilon = 0.0 if norms is None else norms.epsilon
    cosine, sine = (None, None) if rotation is None else (table.flatten(0, 2).contiguous() for table in rotation)
    mixed: Tensor = _Attention.apply(kernels, qkv, gains, epsilon, cosine, sine, heads, scale, first, last)  # type: ignore[no-untyped-call]
    return mixed


@lru_cache(maxsize=16)
def _pattern_bounds(pattern: Pattern, tokens: int) -> tuple[Tensor, Tensor]:
    """(1, T) first and last key that each query sees, both ends included."""
    place = torch.arange(tokens, dtype=torch.int32)[None]
    match pattern:
        case Banded():
            return (place - (pattern.window - 1)).clamp(min=0), place
        case TwoWay():
            return torch.zeros_like(place), torch.full_like(place, tokens - 1)
        case _:
            return torch.zeros_like(place), place


def _bounds(pattern: Pattern, tokens: int, segments: Tensor | None) -> tuple[Tensor, Tensor]:
    """The pattern's bounds, cut at the ends of each query's document where `segments` numbers them."""
    first, last = _pattern_bounds(pattern, tokens)
    if segments is None:
        return first, last
    number = in_order(segments)
    begin = torch.searchsorted(number, number).to(torch.int32)  # (B, T) where this number begins
    end = torch.searchsorted(number, number, right=True).to(torch.int32) - 1
    return torch.maximum(first, begin), torch.minimum(last, end)


class AttentionShape(ctypes.Structure):
    """As in attention.cpp."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("rows", "heads", "queries", "keys", "width")),
        ("scale", ctypes.c_float),
        ("first", ctypes.c_void_p),
        ("last", ctypes.c_void_p),
        ("bounds_stride", ctypes.c_long),
    )


class AttentionView(ctypes.Structure):
    """As in attention.cpp: a (B, T, H, D) tensor of bf16."""

    _fields_ = (("data", ctypes.c_void_p), *((name, ctypes.c_long) for name in ("batch", "token", "head")))

    @classmethod
    def of(cls, x: Tensor) -> AttentionView:
        assert x.dtype == torch.bfloat16
        assert x.stride(3) == 1
        return cls(x.data_ptr(), x.stride(0), x.stride(1), x.stride(2))


class _Preparation(ctypes.Structure):
    """As in rotary.cpp."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("rows", "tokens", "heads", "width")),
        ("gains", ctypes.c_void_p),
        ("epsilon", ctypes.c_float),
        ("cosines", ctypes.c_void_p),
        ("sines", ctypes.c_void_p),
    )


class _Attention(torch.autograd.Function):
    """Queries and keys are prepared again in the backward pass rather than kept."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        qkv: Tensor,
        gains: Tensor | None,
        epsilon: float,
        cosine: Tensor | None,
        sine: Tensor | None,
        heads: int,
        scale: float,
        first: Tensor,
        last: Tensor,
    ) -> Tensor:
        rows, tokens, triple = qkv.shape
        qkv = qkv.contiguous().view(rows, tokens, 3, heads, triple // 3 // heads)
        prepared = _prepare(kernels, qkv, gains, epsilon, cosine, sine)
        out = qkv.new_empty(rows, tokens, heads, qkv.shape[-1])
        lse = torch.empty(rows, heads, tokens)
        shape = _shape(qkv, scale, first, last)
        views = [AttentionView.of(part) for part in (prepared[:, :, 0], prepared[:, :, 1], qkv[:, :, 2], out)]
        kernels.call("attention_forward", shape, *views, lse)
        ctx.save_for_backward(qkv, gains, cosine, sine, first, last, out, lse)
        ctx.kernels, ctx.scale, ctx.epsilon = kernels, scale, epsilon
        return out.flatten(2)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        qkv, gains, cosine, sine, first, last, out, lse = ctx.saved_tensors
        kernels: Kernels = ctx.kernels
        prepared = _prepare(kernels, qkv, gains, ctx.epsilon, cosine, sine)
        gradient = torch.empty_like(qkv)
        mixed_gradient = outer[0].contiguous().view_as(out)
        inputs = (prepared[:, :, 0], prepared[:, :, 1], qkv[:, :, 2], out, mixed_gradient)
        kernels.call(
            "attention_backward",
            _shape(qkv, ctx.scale, first, last),
            *(AttentionView.of(part) for part in inputs),
            lse,
            *(AttentionView.of(part) for part in gradient.unbind(2)),
        )
        gain_gradients = None
        if prepared is not qkv:
            gain_gradients = None if gains is None else torch.zeros_like(gains)
            preparation = _preparation(qkv, gains, ctx.epsilon, cosine, sine)
            kernels.call("prepare_backward", preparation, qkv, gradient, gain_gradients)
        return None, gradient.flatten(2), gain_gradients, *(None,) * 7


def _prepare(
    kernels: Kernels, qkv: Tensor, gains: Tensor | None, epsilon: float, cosine: Tensor | None, sine: Tensor | None
) -> Tensor:
    """(B, T, 3, H, D) -> (B, T, 2, H, D), or `qkv` itself where there is nothing to do."""
    if gains is None and cosine is None:
        return qkv
    rows, tokens, _, heads, width = qkv.shape
    prepared = qkv.new_empty(rows, tokens, 2, heads, width)
    kernels.call("prepare_forward", _preparation(qkv, gains, epsilon, cosine, sine), qkv, prepared)
    return prepared


def _preparation(
    qkv: Tensor, gains: Tensor | None, epsilon: float, cosine: Tensor | None, sine: Tensor | None
) -> _Preparation:
    rows, tokens, _, heads, width = qkv.shape
    places = [None if each is None else each.data_ptr() for each in (gains, cosine, sine)]
    return _Preparation(rows, tokens, heads, width, places[0], epsilon, places[1], places[2])


def _shape(qkv: Tensor, scale: float, first: Tensor, last: Tensor) -> AttentionShape:
    rows, tokens, _, heads, width = qkv.shape
    stride = 0 if first.shape[0] == 1 else tokens
    return AttentionShape(rows, heads, tokens, tokens, width, scale, first.data_ptr(), last.data_ptr(), stride)
