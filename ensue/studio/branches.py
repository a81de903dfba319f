"""What was written from a prompt, and everything that was tried instead, as a tree of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ensue.generate.engine.requests import Told

Maker = Literal["prompt", "model", "person"]


@dataclass(eq=False)
class Node:
    """A token at a place, who put it there, and what came after it in each branch; the last visited is `latest`."""

    told: Told
    made: Maker
    parent: Node | None
    children: list[Node] = field(default_factory=list)
    latest: Node | None = None

    @property
    def forked(self) -> bool:
        """Whether other tokens were tried in its place."""
        return self.parent is not None and len(self.parent.children) > 1

    def child(self, token: int) -> Node | None:
        """What was written after it, if it was this token."""
        return next((child for child in self.children if child.told.token == token), None)


class Branches:
    """A tree whose every path from the root is a text; `tip` is the end of the one that is shown."""

    def __init__(self) -> None:
        self.root = Node(Told(-1, None), "prompt", None)
        self.tip = self.root
        self._visited: list[Node] = []

    def path(self) -> list[Node]:
        """The nodes of the text that is shown, in order."""
        nodes = []
        node = self.tip
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    @property
    def tokens(self) -> list[int]:
        """The tokens of the text that is shown."""
        return [node.told.token for node in self.path()]

    def ends(self) -> list[Node]:
        """The last node of each branch, in the order in which they forked."""
        return [node for node in self._nodes(self.root) if not node.children and node is not self.root]

    @property
    def can_go_back(self) -> bool:
        return bool(self._visited)

    def follow(self, tokens: Sequence[int]) -> None:
        """Show a prompt, which is a branch of its own where no text began with it."""
        self._remember()
        node = self.root
        for token in tokens:
            node = self._enter(node, Told(token, None), "prompt")
        self.tip = node

    def learn(self, place: int, told: Told) -> None:
        """Take note of what the model makes of the token at a place of the text that is shown."""
        node = self.path()[place]
        assert node.told.token == told.token
        if told.nats is not None:
            node.told = told

    def add(self, told: Told) -> None:
        """The model has written a token after what is shown."""
        self.tip = self._enter(self.tip, told, "model")

    def pick(self, place: int, token: int) -> bool:
        """Put another of the likeliest tokens in a place, in a branch of its own.

        False where that was tried before: then that branch is shown, to its end, and nothing needs to be written.
        Raises ValueError for a token that is not among them.
        """
        node = self.path()[place]
        parent = node.parent
        assert parent is not None
        known = parent.child(token)
        if known is not None:
            self.show(known)
            return False
        nats = next((nats for other, nats in node.told.likeliest if other == token), None)
        if nats is None:
            raise ValueError(f"token {token} is not one of the likeliest at place {place}.")
        rank = sum(other > nats for _, other in node.told.likeliest)
        self._remember()
        self.tip = self._enter(parent, replace(node.told, token=token, nats=nats, rank=rank), "person")
        return True

    def cut(self, place: int) -> None:
        """Show the text up to a place, so that it can go on from there."""
        node = self.path()[place]
        self._remember()
        self.tip = node

    def show(self, node: Node) -> None:
        """Show the branch that goes through a node, to its end as it was last seen."""
        self._remember()
        while node.children:
            node = node.latest or node.children[-1]
        self.tip = node
        while node.parent is not None:
            node.parent.latest = node
            node = node.parent

    def back(self) -> None:
        """Show what was shown before the last choice of a person."""
        if self._visited:
            self.tip = self._visited.pop()

    def _remember(self) -> None:
        if self.tip is not self.root and (not self._visited or self._visited[-1] is not self.tip):
            self._visited.append(self.tip)

    def _enter(self, parent: Node, told: Told, made: Maker) -> Node:
        node = parent.child(told.token)
        if node is None:
            node = Node(told, made, parent)
            parent.children.append(node)
        elif node.told.nats is None or told.likeliest:
            node.told = told if told.nats is not None else node.told
        parent.latest = node
        return node

    def _nodes(self, start: Node) -> Iterator[Node]:
        waiting = [start]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))
