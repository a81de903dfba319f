"""Attention where each query sees one run of keys, in tiles of scores that stay in a processor's cache.

All of a query's keys are in one tile, so that its softmax is done at once. Products are made in the inputs' precision,
statistics of the softmax in fp32 (fp64 for fp64). The backward pass makes the probabilities again from the log-sum-exp
(Dao et al. 2022, FlashAttention, section 3.1). Exponents and log-sum-exps are in base 2.

Legend: M sequences, L queries, S keys, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ensue.model.sparse_layout import Layout, Runs

TILE = 2**20
"""Scores of a tile at most, where a block of queries leaves the choice."""
NOTHING = -1e30
"""The log-sum-exp of a query that sees nothing."""
SPARE = 2
"""Columns that the backward pass needs after the D of its inputs."""


def statistic_dtype(dtype: torch.dtype) -> torch.dtype:
    """The precision of softmax statistics for inputs of `dtype`."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def attend(
    layout: Layout, query: Tensor, key: Tensor, value: Tensor, runs: Runs, *, scale: float
) -> tuple[Tensor, Tensor]:
    """The mixed values (B, H, T, D) and log-sum-exp (B, H, T, 1) of one part; zero and `NOTHING` where there is nothing
    to see."""
    query, key, value = layout.queries(query), layout.keys(key), layout.keys(value)  # (M, L, D), (M, S, D)
    mixed = torch.zeros_like(query)
    lse = torch.full(query.shape[:2], NOTHING, dtype=statistic_dtype(query.dtype))
    tiles = Tiles(runs, sequences=query.shape[0], block=layout.block, dtype=query.dtype)
    for tile in tiles:
        queries = tile.sequences, slice(tile.start, tile.stop)
        keys = tile.sequences, slice(tile.low, tile.high)
        scores = tiles.room(tile)
        turned = key[keys].contiguous().mT  # a slice would do, at half the speed
        torch.baddbmm(scores, query[queries], turned, beta=0, alpha=scale * math.log2(math.e), out=scores)
        tiles.hide(tile, scores)
        exact = tiles.exact(scores)
        top = exact.amax(-1, keepdim=True).clamp_(min=NOTHING)
        exact.sub_(top).exp2_()
        total = exact.sum(-1, keepdim=True).clamp_(min=torch.finfo(exact.dtype).tiny)
        weights = scores.copy_(exact) if scores is not exact else scores
        mixed[queries] = (torch.bmm(weights, value[keys]) / total).to(mixed.dtype)
        lse[queries] = top.add_(total.log2_())[..., 0]
    return layout.from_queries(mixed), layout.from_queries(lse[..., None])


def attend_backward(
    layout: Layout,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    outer: Tensor,
    lse: Tensor,
    inner: Tensor,
    runs: Runs,
    *,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients (B, H, T, D) of one part's queries, keys and values.

    `outer` is the gradient of the mixed values of all parts together, `lse` and `inner` (B, H, T, 1) their log-sum-exp
    and their inner product with `outer`.

    With P the probabilities: dV = P^T outer, dS = P x (outer V^T - inner), dQ = scale dS K, dK = scale dS^T Q. What is
    subtracted from a row, lse before the exponential and inner after the product, goes into spare columns of Q and
    outer, against ones in those of K and V: so it costs no pass over the scores, and no rounding before it.
    """
    exponent = scale * math.log2(math.e)
    query, outer = layout.queries(query, spare=SPARE), layout.queries(outer, spare=SPARE)  # (M, L, D + 2)
    key, value = layout.keys(key, spare=SPARE), layout.keys(value, spare=SPARE)  # (M, S, D + 2)
    _fill(query, layout.queries(lse)[..., 0] / -exponent)
    _fill(outer, -layout.queries(inner)[..., 0])
    for ones in (key, value):
        ones[..., -SPARE:] = 1
    query_gradient = torch.zeros_like(query[..., :-SPARE], memory_format=torch.contiguous_format)
    key_gradient = torch.zeros(key[..., :-SPARE].shape, dtype=lse.dtype)
    value_gradient = torch.zeros_like(key_gradient)
    tiles = Tiles(runs, sequences=query.shape[0], block=layout.block, dtype=query.dtype)
    for tile in tiles:
        queries = tile.sequences, slice(tile.start, tile.stop)
        keys = tile.sequences, slice(tile.low, tile.high)
        weights, slopes = tiles.room(tile), tiles.second_room(tile)
        turned = key[keys].contiguous().mT
        torch.baddbmm(weights, query[queries], turned, beta=0, alpha=exponent, out=weights)
        tiles.hide(tile, weights)
        weights.exp2_()
        value_gradient[keys].add_(torch.bmm(weights.mT, outer[queries][..., :-SPARE]))
        torch.bmm(outer[queries], value[keys].contiguous().mT, out=slopes)
        slopes.mul_(weights)
        query_gradient[queries] = torch.bmm(slopes, key[keys][..., :-SPARE]).mul_(scale)
        key_gradient[keys].add_(torch.bmm(slopes.mT, query[queries][..., :-SPARE]), alpha=scale)
    return (
        layout.from_queries(query_gradient),
        layout.from_keys(key_gradient.to(key.dtype)),
        layout.from_keys(value_gradient.to(value.dtype)),
    )


def _fill(x: Tensor, column: Tensor) -> None:
    """Put (M, L) into the spare columns as two numbers of x's precision, whose sum keeps twice its bits."""
    x[..., -2] = column
    x[..., -1] = column - x[..., -2]


@dataclass(frozen=True)
class Tile:
    """Queries start:stop of some sequences, with the keys low:high that any of them sees.

    All of them see all of the keys whole_low:whole_high (none where that is empty).
    """

    sequences: slice
    start: int
    stop: int
    low: int
    high: int
    whole_low: int
    whole_high: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of its scores."""
        return self.sequences.stop - self.sequences.start, self.stop - self.start, self.high - self.low


class Tiles:
    """The tiles of some runs in order, and room for the scores of one of them."""

    def __init__(self, runs: Runs, *, sequences: int, block: int, dtype: torch.dtype) -> None:
        self.runs = runs
        self.tiles = list(_cut(runs, sequences, block))
        self.dtype = dtype
        self._rooms: dict[str, Tensor] = {}
        self._largest = max((math.prod(tile.shape) for tile in self.tiles), default=0)

    def __iter__(self) -> Iterator[Tile]:
        return iter(self.tiles)

    def room(self, tile: Tile) -> Tensor:
        """(m, queries, keys), not initialised, the same memory each time."""
        return self._room("scores", tile.shape, self.dtype)

    def second_room(self, tile: Tile) -> Tensor:
        return self._room("slopes", tile.shape, self.dtype)

    def exact(self, scores: Tensor) -> Tensor:
        """The scores in the precision of statistics: themselves, or a copy in memory of its own."""
        dtype = statistic_dtype(self.dtype)
        if scores.dtype == dtype:
            return scores
        return self._room("exact", scores.shape, dtype).copy_(scores)

    def hide(self, tile: Tile, scores: Tensor) -> None:
        """Put minus infinity where a query does not see a key; only what lies beside the whole part is looked at."""
        if tile.whole_low < tile.whole_high:
            edges = [(tile.low, tile.whole_low), (tile.whole_high, tile.high)]
        else:
            edges = [(tile.low, tile.high)]
        for low, high in edges:
            if low < high:
                scores[:, :, low - tile.low : high - tile.low].add_(self._hidden(tile, low, high))

    def _hidden(self, tile: Tile, low: int, high: int) -> Tensor:
        """(1 or m, queries, high - low): 0 where a query sees a key, else minus infinity."""
        sequences = slice(None) if self.runs.shared else tile.sequences
        first = self.runs.first[sequences, tile.start : tile.stop, None] - low
        last = self.runs.last[sequences, tile.start : tile.stop, None] - low
        key = torch.arange(high - low, dtype=torch.int32)
        return torch.zeros((), dtype=self.dtype).masked_fill((key < first) | (key > last), float("-inf"))

    def _room(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if name not in self._rooms:
            self._rooms[name] = torch.empty(self._largest, dtype=dtype)
        return self._rooms[name][: math.prod(shape)].view(shape)


def _cut(runs: Runs, sequences: int, block: int) -> Iterator[Tile]:
    length = runs.first.shape[1]
    for start in range(0, length, block):
        stop = min(start + block, length)
        first, last = runs.first[:, start:stop], runs.last[:, start:stop]
        most = int(last.max()) + 1 - _down(int(first.min()))
        if most <= 0:
            continue
        together = max(1, TILE // ((stop - start) * most))
        for begin in range(0, sequences, together):
            end = min(begin + together, sequences)
            some = slice(None) if runs.shared else slice(begin, end)
            low, high = _down(int(first[some].min())), int(last[some].max()) + 1
            whole_low, whole_high = -_down(-int(first[some].max())), _down(int(last[some].min()) + 1)
            if low < high:
                yield Tile(slice(begin, end), start, stop, low, high, max(whole_low, low), min(whole_high, high))


def _down(place: int) -> int:
    """The multiple of 32 at or below: rows of scores that begin at odd places are several times slower to pass over."""
    return place - place % 32
