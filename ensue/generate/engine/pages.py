"""Pages of the key-value cache: a fixed number of them, shared by requests that begin alike.

A page holds 16 tokens of every layer. Pages that are full and whose tokens are known stay in a tree by their tokens, so
that a later request which begins with the same tokens reads them instead of computing them; those that nobody reads
are given up first, the one unused for longest before the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

PAGE = 16
"""Tokens of a page."""


@dataclass
class _Node:
    """A full page in the tree, under the page before it. It is `ready` once its keys and values are computed."""

    page: int
    tokens: tuple[int, ...]
    parent: _Node | None
    ready: bool = False
    children: dict[tuple[int, ...], _Node] = field(default_factory=dict)


@dataclass(frozen=True)
class Prefix:
    """Pages at a prompt's beginning that are there already, and whether more of it is being computed right now."""

    pages: tuple[int, ...]
    pending: bool


class PagePool:
    """`count` pages. Each is free, or read by some requests, or kept in the tree, or both."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count - 1, -1, -1))
        self._readers = [0] * count
        self._nodes: dict[int, _Node] = {}
        self._roots: dict[tuple[int, ...], _Node] = {}
        self._unread = 0  # pages of the tree that nobody reads,
        self._ends: OrderedDict[int, None] = OrderedDict()  # and those of them that none follows, the oldest first

    @property
    def available(self) -> int:
        """Pages that are free, or in the tree without a reader."""
        return len(self._free) + self._unread

    @property
    def kept(self) -> int:
        """Pages that are in the tree."""
        return len(self._nodes)

    def prefix_of(self, tokens: Sequence[int]) -> Prefix:
        """The longest beginning of `tokens` whose pages are ready, their last token left out: it must be read anew."""
        pages: list[int] = []
        level = self._roots
        for piece in _pieces(tokens[:-1]):
            node = level.get(piece)
            if node is None or not node.ready:
                return Prefix(tuple(pages), pending=node is not None)
            pages.append(node.page)
            level = node.children
        return Prefix(tuple(pages), pending=False)

    def read(self, pages: Sequence[int]) -> None:
        """Count one more reader of each of these pages of the tree."""
        for page in pages:
            if not self._readers[page]:
                self._unread -= 1
                self._ends.pop(page, None)
            self._readers[page] += 1

    def take(self, count: int) -> list[int]:
        """`count` pages for one reader, from the tree where too few are free. The caller has seen that there are."""
        assert count <= self.available
        while len(self._free) < count:
            self._give_up()
        taken = [self._free.pop() for _ in range(count)]
        for page in taken:
            self._readers[page] = 1
        return taken

    def release(self, pages: Sequence[int]) -> None:
        """One reader less of each page; those in the tree stay until they are needed, unless never finished."""
        for page in reversed(pages):
            self._readers[page] -= 1
            assert self._readers[page] >= 0
            node = self._nodes.get(page)
            if node is not None and not node.ready:
                self._remove(node)
                node = None
            if self._readers[page]:
                continue
            if node is None:
                self._free.append(page)
                continue
            self._unread += 1
            if not node.children:
                self._ends[page] = None

    def announce(self, tokens: Sequence[int], pages: Sequence[int]) -> None:
        """Put the full pages of `tokens` into the tree, as being computed, up to one that another reader has there.

        So whoever reads a page reads all before it, and the tree can be given up from its ends.
        """
        level, parent = self._roots, None
        for piece, page in zip(_pieces(tokens), pages, strict=False):
            node = level.get(piece)
            if node is None:
                node = level[piece] = self._nodes[page] = _Node(page, piece, parent)
            elif node.page != page:
                return
            level, parent = node.children, node

    def finish(self, pages: Sequence[int]) -> None:
        """These pages are computed to their end."""
        for page in pages:
            node = self._nodes.get(page)
            if node is not None:
                node.ready = True

    def _give_up(self) -> None:
        """Free the page without a reader that was unused for longest, of those that no other page follows."""
        page, _ = self._ends.popitem(last=False)
        node = self._nodes[page]
        self._remove(node)
        self._unread -= 1
        self._free.append(page)
        parent = node.parent
        if parent is not None and not parent.children and not self._readers[parent.page]:
            self._ends[parent.page] = None
            self._ends.move_to_end(parent.page, last=False)  # nobody has read it since its last child was left

    def _remove(self, node: _Node) -> None:
        """Take a page out of the tree. None follows it: what does is released before, or was given up."""
        assert not node.children
        level = self._roots if node.parent is None else node.parent.children
        del level[node.tokens]
        del self._nodes[node.page]


def _pieces(tokens: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The tokens of each full page."""
    for first in range(0, len(tokens) - PAGE + 1, PAGE):
        yield tuple(tokens[first : first + PAGE])
