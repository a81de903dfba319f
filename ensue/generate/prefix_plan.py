"""Which passes compute a prefix tree: what is shared by many is run once, what is shared by few goes along in a row.

A node is one of three things. A *trunk* is a pass of its own, whose keys and values all that follows reads. A *row*
holds the node and everything under it; its tokens see their own ancestors only. A node that pays for neither is
computed again with each of its children. Trunks are run depth first, so that one at a time is held.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ensue.generate.prefix_tree import Node

PASS, GPU_PASS = 64, 4096
"""How many tokens a pass more costs as much as: reading the weights again, and products that fill the machine badly."""

COPIED = 128
"""How many keys and values can be copied for the price of a token; a row that has a trunk copies all that it reads."""

MASK_CELLS = 2**23
"""Pairs of tokens of a pass, over all of its rows, that a mask is made for."""


@dataclass(frozen=True)
class Limits:
    """What a pass may hold: `batch_tokens` padded tokens; and how many positions the `trunk` has room for.

    `width` is the model's: four times as many keys cost a token about as much as its matrix products. `pass_cost` is
    what a pass more costs, in tokens.
    """

    batch_tokens: int
    trunk: int
    width: int
    pass_cost: int = PASS


@dataclass(frozen=True)
class Piece:
    """Positions `begin` to `end` of the sorted row `row`, after piece `after` of its pass's row (-1: after the trunk).

    `nodes` are those whose tokens are read out here; what it holds of other nodes is read elsewhere.
    """

    row: int
    begin: int
    end: int
    after: int
    nodes: tuple[int, ...]

    @property
    def length(self) -> int:
        return self.end - self.begin


Row = list[Piece]


@dataclass(frozen=True)
class Pass:
    """Rows to run after the first `trunk` positions of the trunk; with `keep`, one row that becomes part of it."""

    trunk: int
    rows: list[Row]
    keep: bool = False

    @property
    def plain(self) -> bool:
        """Whether every row is one sequence from its first token on, as the model runs without any of this."""
        return not self.keep and not self.trunk and all(len(row) == 1 for row in self.rows)


@dataclass(frozen=True)
class _Branch:
    """A node to be run, with the tokens from the trunk's end to it; `nodes` of them are to be read out with it."""

    place: int
    nodes: tuple[int, ...]


def plan(nodes: Sequence[Node], limits: Limits) -> Iterator[Pass]:
    """The passes that compute every node, each trunk before what reads it."""
    waiting: list[tuple[int, _Branch]] = []  # each with the length of the trunk that it goes on from
    trunk, branches = 0, [_Branch(0, (0,))]
    while True:
        rows, trunks = _grow(nodes, trunk, branches, limits)
        yield from _passes(rows, trunk, limits)
        waiting.extend((trunk, branch) for branch in reversed(trunks))
        if not waiting:
            return
        before, branch = waiting.pop()
        node = nodes[branch.place]
        yield Pass(before, [[Piece(node.first, before, node.end, -1, branch.nodes)]], keep=True)
        trunk, branches = node.end, [_Branch(child, (child,)) for child in node.children]


def _grow(
    nodes: Sequence[Node], trunk: int, branches: list[_Branch], limits: Limits
) -> tuple[list[Row], list[_Branch]]:
    """The rows that hang on a trunk of this length, and the branches that become longer trunks."""
    rows, trunks = [], []
    waiting = branches[::-1]
    while waiting:
        branch = waiting.pop()
        match _choice(nodes, nodes[branch.place], trunk, limits):
            case "row":
                rows.append(_row(nodes, trunk, branch))
            case "trunk":
                trunks.append(branch)
            case "split":
                first, *others = nodes[branch.place].children
                waiting.extend(_Branch(child, (child,)) for child in reversed(others))
                waiting.append(_Branch(first, (*branch.nodes, first)))
    return rows, trunks


def _choice(nodes: Sequence[Node], node: Node, trunk: int, limits: Limits) -> Literal["row", "trunk", "split"]:
    """What is cheapest to do with a node and what is under it, in tokens."""
    if not node.children:
        return "row"
    shared = node.end - trunk
    below = [nodes[child].length + nodes[child].below for child in node.children]

    def cost(tokens: int, before: int) -> float:
        keys = before + tokens
        return tokens * (1 + keys / (4 * limits.width)) + (keys / COPIED if before else 0)

    costs: dict[Literal["row", "split", "trunk"], float] = {
        "row": cost(shared + node.below, trunk),
        "split": sum(cost(shared + tokens, trunk) for tokens in below),
        "trunk": limits.pass_cost + cost(shared, trunk) + sum(cost(tokens, node.end) for tokens in below),
    }
    if shared + node.below > limits.batch_tokens:
        costs["row"] = math.inf
    if node.end > limits.trunk:
        costs["trunk"] = math.inf
    return min(costs, key=costs.__getitem__)


def _row(nodes: Sequence[Node], trunk: int, branch: _Branch) -> Row:
    """A branch and everything under it, every piece after the one it goes on from."""
    top = nodes[branch.place]
    row = [Piece(top.first, trunk, top.end, -1, branch.nodes)]
    waiting = [(child, 0) for child in reversed(top.children)]
    while waiting:
        place, after = waiting.pop()
        node = nodes[place]
        waiting.extend((child, len(row)) for child in reversed(node.children))
        row.append(Piece(node.first, node.begin, node.end, after, (place,)))
    return row


def _passes(rows: list[Row], trunk: int, limits: Limits) -> Iterator[Pass]:
    """Rows of like length together, as many as the limits allow; plain sequences apart, which need no mask."""
    plain = [row for row in rows if len(row) == 1 and not trunk]
    for group in plain, _packed([row for row in rows if len(row) > 1 or trunk], trunk, limits):
        together: list[Row] = []
        for row in sorted(group, key=_tokens, reverse=True):
            if together and not _fit(len(together) + 1, _tokens(together[0]), trunk, limits):
                yield Pass(trunk, together)
                together = []
            together.append(row)
        if together:
            yield Pass(trunk, together)


def _fit(rows: int, longest: int, trunk: int, limits: Limits) -> bool:
    keys = trunk + longest
    return (
        rows * longest <= limits.batch_tokens
        and rows * keys <= 8 * limits.batch_tokens
        and rows * longest * keys <= MASK_CELLS
    )


def _packed(rows: list[Row], trunk: int, limits: Limits) -> list[Row]:
    """Short rows joined, so that none is much shorter than the longest, nor than what its copy of the trunk is worth.

    A pass pads its rows to the longest of them, and every row reads the trunk's keys and values for itself.
    """
    left = sorted(rows, key=_tokens)
    sizes = [_tokens(row) for row in left]
    size = max(sizes[-1], min(4 * math.isqrt(trunk), 256, limits.batch_tokens)) if rows else 0
    packed = []
    while left:
        row, room = left.pop(), size - sizes.pop()
        while place := bisect_right(sizes, room):
            row, room = _joined(row, left.pop(place - 1)), room - sizes.pop(place - 1)
        packed.append(row)
    return packed


def _joined(row: Row, other: Row) -> Row:
    return row + [replace(piece, after=piece.after + len(row) if piece.after >= 0 else -1) for piece in other]


def _tokens(row: Row) -> int:
    return sum(piece.length for piece in row)
