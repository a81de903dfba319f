"""The parts of a pattern as plain attention over shorter sequences: how tokens are laid out, and who sees which run.

Legend: B rows, H heads, T tokens, D head width; a layout has M sequences of L queries and S keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ensue.model.patterns import Band, Blocks, Columns, Part, Pattern, Summaries
from ensue.model.segments import in_order

MOST_QUERIES = 128
"""Queries of a tile: enough for products at full speed, few enough that little of a tile is hidden."""


@dataclass(frozen=True)
class Runs:
    """The keys each query sees: `first` to `last`, both ends included, (1 or M, L) int32; none where last < first."""

    first: Tensor
    last: Tensor

    @property
    def shared(self) -> bool:
        """Whether all sequences have the same runs."""
        return self.first.shape[0] == 1

    def where(self, sequences: slice, queries: slice = slice(None)) -> Runs:
        return Runs(self.first[sequences, queries].contiguous(), self.last[sequences, queries].contiguous())


class Layout:
    """One part, for tensors of a given shape. This one leaves tokens as they are, every head a sequence: M = B x H."""

    def __init__(self, part: Part, shape: torch.Size, device: torch.device) -> None:
        self.part = part
        self.rows, self.heads, self.tokens, _ = shape
        self.device = device

    @property
    def key_count(self) -> int:
        """S."""
        return self.tokens

    @property
    def block(self) -> int:
        """How many neighbouring queries to compute together."""
        match self.part:
            case Band():
                return MOST_QUERIES if self.part.reach > MOST_QUERIES // 2 else MOST_QUERIES // 2
            case Blocks() if self.part.stride < MOST_QUERIES:  # whole blocks, so that a tile spans no other
                return MOST_QUERIES // self.part.stride * self.part.stride
            case _:
                return MOST_QUERIES

    def queries(self, x: Tensor, *, fill: int = 0, spare: int = 0) -> Tensor:
        """(B, H, T, D) -> (M, L, D + spare), contiguous; padding holds `fill`, the spare columns anything."""
        laid = x.new_empty(self.rows, self.heads, self.tokens, x.shape[-1] + spare)
        laid[..., : x.shape[-1]] = x
        return laid.flatten(0, 1)

    def keys(self, x: Tensor, *, fill: int = 0, spare: int = 0) -> Tensor:
        """(B, H, T, D) -> (M, S, D + spare), contiguous; padding holds `fill`, the spare columns anything."""
        return self.queries(x, fill=fill, spare=spare)

    def from_queries(self, x: Tensor) -> Tensor:
        """(M, L, D) -> (B, H, T, D)."""
        return x.view(self.rows, self.heads, self.tokens, -1)

    def from_keys(self, x: Tensor) -> Tensor:
        """(M, S, D) -> (B, H, T, D), zero where there is no such key."""
        return self.from_queries(x)

    def in_place(self, x: Tensor) -> list[Tensor]:
        """The sequences of one row, (H, T, D) or what `only_keys` made of it, as views (sequences, L, heads, D)."""
        return [x[:, :, None]]

    def runs_in_place(self, runs: Runs, row: int) -> list[Runs]:
        """The runs of one row for each of the views that `in_place` gives: (1 or sequences, L) each."""
        return [runs if runs.shared else runs.where(slice(row * self.heads, (row + 1) * self.heads))]

    def only_keys(self, x: Tensor) -> Tensor:
        """(B, H, T, D) -> (B, H, S, D): x itself, unless this layout leaves some keys out."""
        return x

    def from_only_keys(self, x: Tensor) -> Tensor:
        """(B, H, S, D) -> (B, H, T, D), zero where a key was left out."""
        return x

    def runs(self) -> Runs:
        """Who sees whom, documents aside."""
        place = torch.arange(self.tokens, device=self.device, dtype=torch.int32)[None]
        match self.part:
            case Blocks():
                return Runs(place // self.part.stride * self.part.stride, place)
            case Band():
                return Runs((place - (self.part.reach - 1)).clamp(min=0), place)
            case _:
                raise AssertionError(f"{self.part} needs a layout of its own")


class ColumnLayout(Layout):
    """Tokens as a table of `stride` columns, read downwards: every column of every head a sequence, L = T / stride."""

    part: Columns

    def queries(self, x: Tensor, *, fill: int = 0, spare: int = 0) -> Tensor:
        length, missing = self._length, self._length * self.part.stride - self.tokens
        if missing:
            x = F.pad(x, (0, 0, 0, missing), value=fill)
        laid = x.new_empty(self.rows, self.heads, self.part.stride, length, x.shape[-1] + spare)
        laid[..., : x.shape[-1]] = x.reshape(*x.shape[:2], length, self.part.stride, -1).transpose(2, 3)
        return laid.flatten(0, 2)

    def from_queries(self, x: Tensor) -> Tensor:
        columns = x.view(self.rows, self.heads, self.part.stride, self._length, -1)
        return columns.transpose(2, 3).flatten(2, 3)[:, :, : self.tokens]

    def in_place(self, x: Tensor) -> list[Tensor]:
        heads, tokens, width = x.stride()
        return [
            x.as_strided(
                (columns.stop - columns.start, length, self.heads, x.shape[-1]),
                (tokens, self.part.stride * tokens, heads, width),
                x.storage_offset() + columns.start * tokens,
            )
            for columns, length in self._groups()
        ]

    def runs_in_place(self, runs: Runs, row: int) -> list[Runs]:
        first = row * self.heads * self.part.stride  # every head has the same
        return [
            runs.where(
                slice(None) if runs.shared else slice(first + columns.start, first + columns.stop), slice(length)
            )
            for columns, length in self._groups()
        ]

    def _groups(self) -> list[tuple[slice, int]]:
        """Columns of the same length, and that length: the first ones reach into a last row that is not full."""
        whole, more = divmod(self.tokens, self.part.stride)
        groups = [(slice(0, more), whole + 1), (slice(more, self.part.stride), whole)]
        return [(columns, length) for columns, length in groups if columns.start < columns.stop and length]

    def runs(self) -> Runs:
        place = torch.arange(self._length, device=self.device, dtype=torch.int32)[None]
        return Runs(torch.zeros_like(place), place - self.part.lag)

    @property
    def key_count(self) -> int:
        return self._length

    @property
    def _length(self) -> int:
        return -(-self.tokens // self.part.stride)


class SummaryLayout(Layout):
    """Every head a sequence of all its queries over its summary positions alone, in order: S is about T c / stride."""

    part: Summaries

    def keys(self, x: Tensor, *, fill: int = 0, spare: int = 0) -> Tensor:
        laid = x.new_full((self.rows, self.heads, self._blocks, self.part.summary, x.shape[-1] + spare), fill)
        for tokens, keys in self._pairs(x, laid[..., : x.shape[-1]]):
            keys.copy_(tokens)
        return laid.view(self.rows * self.heads, self.key_count, -1)

    def from_keys(self, x: Tensor) -> Tensor:
        whole = x.new_zeros(self.rows, self.heads, self.tokens, x.shape[-1])
        for tokens, keys in self._pairs(whole, x.view(self.rows, self.heads, self._blocks, self.part.summary, -1)):
            tokens.copy_(keys)
        return whole

    def _pairs(self, x: Tensor, keys: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Views of (B, H, T, D) and of its summaries (B, H, blocks, summary, D) that stand for the same positions.

        Slices, since indexing with numbers would first make another copy of all of x.
        """
        stride, whole = self.part.stride, min(self._blocks, self.tokens // self.part.stride)
        for run in range(min(self.part.runs, self.heads)):
            alike = slice(run, None, self.part.runs)  # the heads that read this run
            start = self.part.start(run)
            if whole:
                blocks = x[:, alike, : whole * stride].view(self.rows, -1, whole, stride, x.shape[-1])
                yield blocks[:, :, :, start : start + self.part.summary], keys[:, alike, :whole]
            if whole < self._blocks:  # the last block may end within its summary
                rest = x[:, alike, whole * stride + start :][:, :, : self.part.summary]
                yield rest, keys[:, alike, whole, : rest.shape[2]]

    def only_keys(self, x: Tensor) -> Tensor:
        keys = self.keys(x)
        return keys.view(self.rows, self.heads, -1, x.shape[-1])

    def from_only_keys(self, x: Tensor) -> Tensor:
        return self.from_keys(x.flatten(0, 1))

    def runs(self) -> Runs:
        place = torch.arange(self.tokens, device=self.device, dtype=torch.int32)[None]
        seen = place // self.part.stride * self.part.summary
        if self.part.own_block:
            inside = place % self.part.stride - self._starts()[:, None]  # (H, T)
            seen = (seen + inside.clamp(0, self.part.summary)).repeat(self.rows, 1)
        last = (seen - 1).to(torch.int32)
        return Runs(torch.zeros_like(last), last)

    def _starts(self) -> Tensor:
        """(H,) where in a block each head's run begins."""
        starts: Tensor = self.part.start(torch.arange(self.heads, device=self.device))
        return starts

    @property
    def key_count(self) -> int:
        return self._blocks * self.part.summary

    @property
    def _blocks(self) -> int:
        """How many have summaries that anyone sees; nobody comes after the last one."""
        return -(-self.tokens // self.part.stride) - (0 if self.part.own_block else 1)


def layouts(pattern: Pattern, shape: torch.Size, device: torch.device) -> list[Layout]:
    """A layout for each part of the pattern that reaches anything in (B, H, T, D)."""
    made: list[Layout] = []
    tokens = shape[2]
    for part in pattern.parts:
        match part:
            case Columns():
                if part.lag * part.stride < tokens:
                    made.append(ColumnLayout(part, shape, device))
            case Summaries():
                if part.own_block or part.stride < tokens:
                    made.append(SummaryLayout(part, shape, device))
            case _:
                made.append(Layout(part, shape, device))
    return made


def runs_within(layout: Layout, segments: Tensor | None) -> Runs:
    """The runs of a layout, cut at the ends of each query's document where `segments` (B, T) numbers them.

    Raises ValueError where a document comes back after another one has begun.
    """
    runs = layout.runs()
    if segments is None:
        return runs
    number = in_order(segments)[:, None, :, None].expand(-1, layout.heads, -1, -1)  # (B, H, T, 1)
    past = layout.tokens  # what pads keys, so that numbers keep rising
    query = layout.queries(number, fill=past)[..., 0].contiguous()
    key = layout.keys(number, fill=past)[..., 0].contiguous()
    begin = torch.searchsorted(key, query, out_int32=True)
    end = torch.searchsorted(key, query, right=True, out_int32=True)
    return Runs(torch.maximum(runs.first, begin), torch.minimum(runs.last, end - 1))
