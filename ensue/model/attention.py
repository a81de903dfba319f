"""Multi-head self-attention: one fused kernel for training, and the explicit twin that taps can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ensue.core.native import usable_kernels
from ensue.model.branches import Branches
from ensue.model.cache import Cache
from ensue.model.config import GPTConfig
from ensue.model.fused_attention import HeadNorms, can_fuse_attention, fused_attention
from ensue.model.norm import Norm, RMSNorm, make_norm
from ensue.model.patterns import Dense, Pattern, TwoWay
from ensue.model.products import product_of, product_of_norm
from ensue.model.rotary import Rotation, rotate
from ensue.model.sparse import sparse_attention

# Legend: B rows, T queries, S keys, H heads, D head width, W width.

SPARSE_FROM = 256
"""Tokens from which sparse patterns run as such: from here on they are faster than all pairs under a mask."""

Taps = Callable[[str, Tensor], Tensor]
"""What is called with (name, tensor) at every named place and returns the tensor to go on with."""


def tap(taps: Taps | None, name: str, tensor: Tensor) -> Tensor:
    """The tensor itself where nothing is installed; what the tap returns where something is."""
    return tensor if taps is None else taps(name, tensor)


@dataclass(frozen=True)
class Sight:
    """What a forward pass knows of who may see whom: `positions` (B or 1, T) of the queries among `held` keys, the
    `cache` that has begun the pass and knows where it keeps them (or which tokens come before which, where the rows
    branch), or `segments` (B, T), the numbers of documents that must not see each other."""

    positions: Tensor
    held: int
    segments: Tensor | None
    cache: Cache | Branches | None
    masks: dict[Pattern, Tensor | None] = field(default_factory=dict)

    def mask(self, pattern: Pattern, heads: int) -> Tensor | None:
        """`visibility` of the pattern, made once for all layers that share it."""
        if pattern not in self.masks:
            self.masks[pattern] = self._mask(pattern, heads)
        return self.masks[pattern]

    def _mask(self, pattern: Pattern, heads: int) -> Tensor | None:
        if isinstance(self.cache, Branches):
            return self.cache.mask(pattern, heads)
        places = None if self.cache is None else self.cache.places(pattern, self.positions.shape[1])
        return visibility(
            pattern, heads=heads, positions=self.positions, held=self.held, places=places, segments=self.segments
        )


class Attention(nn.Module):
    """Self-attention of one layer. Taps under its prefix: query, key, value, scores, probabilities, mixed, output."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads = config.heads
        self.head_width = config.head_width
        self.scale = config.attention_scale if config.attention_scale is not None else config.head_width**-0.5
        self.pattern = config.pattern(layer)
        self.dropout = config.attention_dropout
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.qkv_bias)
        self.out = nn.Linear(config.width, config.width, bias=config.bias)
        self.query_norm = make_norm(config, config.head_width) if config.qk_norm else None
        self.key_norm = make_norm(config, config.head_width) if config.qk_norm else None

    def forward(
        self,
        x: Tensor,
        norm: Norm | None,
        *,
        rotation: Rotation | None,
        sight: Sight,
        cache: Cache | Branches | None,
        taps: Taps | None,
        prefix: str,
    ) -> Tensor:
        """(B, T, W) -> (B, T, W), of norm(x) or of x itself."""
        qkv = product_of_norm(self.qkv, norm, x) if norm is not None else self.qkv(x)  # (B, T, 3W)
        dropout = self.dropout if self.training else 0.0
        if cache is None and taps is None and not dropout:
            mixed = self._fused(qkv, rotation=rotation, segments=sight.segments)
            if mixed is not None:
                return product_of(self.out, mixed)
        rows, new, _ = x.shape
        qkv = qkv.view(rows, new, 3, self.heads, self.head_width)  # (B, T, 3, H, D)
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))  # (B, H, T, D) each
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        query = tap(taps, f"{prefix}.query", query)
        key = tap(taps, f"{prefix}.key", key)
        value = tap(taps, f"{prefix}.value", value)
        if cache is not None:
            key, value = cache.write(self.layer, key, value)  # (B, H, S, D) each
        if cache is None and taps is None and not dropout and self._pays_to_be_sparse(query):
            mixed = sparse_attention(query, key, value, self.pattern, scale=self.scale, segments=sight.segments)
            return product_of(self.out, mixed.transpose(1, 2).flatten(2))
        mask = sight.mask(self.pattern, self.heads)
        if taps is None:
            causal = mask is None and new > 1
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=causal, scale=self.scale
            )
        else:
            mixed = self._explicit(query, key, value, mask=mask, dropout=dropout, taps=taps, prefix=prefix)
        mixed = tap(taps, f"{prefix}.mixed", mixed)  # (B, H, T, D)
        return tap(taps, f"{prefix}.output", self.out(mixed.transpose(1, 2).flatten(2)))

    def _fused(self, qkv: Tensor, *, rotation: Rotation | None, segments: Tensor | None) -> Tensor | None:
        """Everything from (B, T, 3W) to the (B, T, W) mixed values in one kernel, or None where there is none."""
        kernels = usable_kernels(qkv.device)
        if kernels is None or not can_fuse_attention(qkv, self.pattern, self.heads):
            return None
        norms = None
        if self.query_norm is not None and self.key_norm is not None:
            if not isinstance(self.query_norm, RMSNorm):
                return None
            norms = HeadNorms(self.query_norm.weight, self.key_norm.weight, self.query_norm.epsilon)
        return fused_attention(
            kernels,
            qkv,
            heads=self.heads,
            pattern=self.pattern,
            scale=self.scale,
            segments=segments,
            norms=norms,
            rotation=rotation,
        )

    def _pays_to_be_sparse(self, query: Tensor) -> bool:
        """Whether the pattern's own parts are cheaper than all pairs under a mask, and can run here."""
        if isinstance(self.pattern, Dense | TwoWay) or query.shape[2] < SPARSE_FROM:
            return False
        return query.is_cuda or not torch.compiler.is_compiling()

    def _explicit(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Tensor | None,
        dropout: float,
        taps: Taps,
        prefix: str,
    ) -> Tensor:
        """The same sum written out: softmax(QK^T x scale, masked) V, with its inner tensors tapped."""
        scores = query @ key.transpose(-2, -1) * self.scale  # (B, H, T, S)
        if mask is None:
            new, held = scores.shape[-2:]
            mask = torch.ones(new, held, dtype=torch.bool, device=scores.device).tril(held - new)
        scores = tap(taps, f"{prefix}.scores", scores.masked_fill(~mask, float("-inf")))
        probabilities = tap(taps, f"{prefix}.probabilities", scores.softmax(-1))
        return F.dropout(probabilities, dropout) @ value


def visibility(
    pattern: Pattern, *, heads: int, positions: Tensor, held: int, places: Tensor | None, segments: Tensor | None
) -> Tensor | None:
    """The boolean mask of one pattern, broadcastable to (B, H, T, S), or None where plain causal attention is the same.

    `positions` (B or 1, T) are the queries' places among the `held` keys, of which a cache that dropped some has those
    at `places` (B or 1, H or 1, S), -1 for none. `segments` (B, T) numbers the documents that must not see each other
    (no cache then, so keys and queries are the same tokens).
    """
    if places is not None:
        return _mask(pattern, heads, positions, places) & (places >= 0)[:, :, None]
    new = positions.shape[1]
    equal = positions.shape[0] == 1
    if equal and segments is None and isinstance(pattern, Dense) and new in (1, held):
        return None  # the newest token sees all that is held; a fresh sequence is causal
    if equal and held == new:
        mask = _square_mask(pattern, heads, new, positions.device)
    else:
        mask = _mask(pattern, heads, positions, torch.arange(held, device=positions.device)[None, None])
    if segments is not None:
        mask = mask & (segments[:, None, :, None] == segments[:, None, None, :])
    return mask


@lru_cache(maxsize=16)
def _square_mask(pattern: Pattern, heads: int, length: int, device: torch.device) -> Tensor:
    place = torch.arange(length, device=device)
    return _mask(pattern, heads, place[None], place[None, None])


def _mask(pattern: Pattern, heads: int, positions: Tensor, places: Tensor) -> Tensor:
    head = torch.arange(heads, device=positions.device)[None, :, None, None]
    visible: Tensor = pattern.visible(positions[:, None, :, None], places[:, :, None], head)
    return visible
