"""Layers that keep the same keys and values: all that were, or the last that their pattern still shows.

Each group has pages of its own. In a group of locally banded layers a long request has only as many as its window
needs, and writes over those that nothing sees any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ensue.generate.engine.pages import PAGE, PagePool, Prefix
from ensue.model.config import GPTConfig
from ensue.model.patterns import Banded


@dataclass(frozen=True)
class Group:
    """Layers, by number, that see `reach` positions back, the query among them; all where it is None."""

    reach: int | None
    layers: tuple[int, ...]

    def pages_for(self, length: int, span: int) -> int:
        """Pages of a request of `length` tokens, of which up to `span` are computed in one pass."""
        whole = -(-length // PAGE)
        return whole if self.reach is None else min(whole, -(-(self.reach - 1 + span) // PAGE) + 1)


def groups_of(config: GPTConfig) -> tuple[Group, ...]:
    """The groups of a model's layers, those that see everything first."""
    by_reach: dict[int | None, list[int]] = {}
    for layer in range(config.layers):
        pattern = config.pattern(layer)
        reach = pattern.window if isinstance(pattern, Banded) and pattern.window < config.context else None
        by_reach.setdefault(reach, []).append(layer)
    ordered = sorted(by_reach.items(), key=lambda pair: (pair[0] is not None, pair[0] or 0))
    return tuple(Group(reach, tuple(layers)) for reach, layers in ordered)


def pages_in(config: GPTConfig, cache_bytes: int, *, value_bytes: int, span: int) -> tuple[int, ...]:
    """Pages of each group in so much memory: in proportion to what a request of the whole context takes of each."""
    groups = groups_of(config)
    of_one = [group.pages_for(config.context, span) for group in groups]
    sizes = [2 * len(group.layers) * PAGE * config.width * value_bytes for group in groups]
    share = cache_bytes / sum(count * size for count, size in zip(of_one, sizes, strict=True))
    return tuple(max(1, int(share * count)) for count in of_one)


@dataclass(frozen=True)
class Lease:
    """The pages of a request, of each group; the first `shared` tokens were there already. `whole`: none is written
    over, so that what it computes may be read by others."""

    pages: tuple[tuple[int, ...], ...]
    shared: int
    whole: bool

    def row(self, group: int, length: int) -> list[int]:
        """The page of each 16 tokens of a request of `length`."""
        own = self.pages[group]
        return [own[place % len(own)] for place in range(-(-length // PAGE))]


class GroupedPages:
    """A pool of pages for each group, lent and given back together."""

    def __init__(self, groups: Sequence[Group], counts: Sequence[int], *, span: int) -> None:
        """`span` is the most tokens of one request that a pass computes."""
        assert len(groups) == len(counts)
        self.groups, self.span = tuple(groups), span
        self.pools = [PagePool(count) for count in counts]

    @property
    def count(self) -> int:
        """All pages."""
        return sum(pool.count for pool in self.pools)

    @property
    def available(self) -> int:
        """Pages that are free, or kept for whoever begins alike without being read now."""
        return sum(pool.available for pool in self.pools)

    @property
    def kept(self) -> int:
        """Pages whose tokens are known."""
        return sum(pool.kept for pool in self.pools)

    def can_ever_hold(self, length: int) -> bool:
        """Whether a request of so many tokens fits when it is alone."""
        return all(need <= pool.count for need, pool in zip(self._needs(length), self.pools, strict=True))

    def is_pending(self, tokens: Sequence[int], length: int) -> bool:
        """Whether a beginning of `tokens` is being computed right now, which the request could wait for."""
        return self._is_whole(length) and any(pool.prefix_of(tokens).pending for pool in self.pools)

    def lend(self, tokens: Sequence[int], length: int, *, reuse: bool) -> Lease | None:
        """Pages for a request of `length` tokens that begins with `tokens`; None where too few can be had.

        With `reuse`, those at its beginning that are there already are read and not computed again.
        """
        whole = self._is_whole(length)
        shared = self._shared(tokens) if reuse and whole else [() for _ in self.pools]
        needs = [need - len(known) for need, known in zip(self._needs(length), shared, strict=True)]
        for pool, known in zip(self.pools, shared, strict=True):
            pool.read(known)
        if any(need > pool.available for need, pool in zip(needs, self.pools, strict=True)):
            for pool, known in zip(self.pools, shared, strict=True):
                pool.release(known)
            return None
        pages = tuple((*known, *pool.take(need)) for pool, known, need in zip(self.pools, shared, needs, strict=True))
        lease = Lease(pages, len(shared[0]) * PAGE, whole)
        self.announce(lease, tokens)
        return lease

    def announce(self, lease: Lease, tokens: Sequence[int]) -> None:
        """These tokens are in the lease's pages, or will be."""
        if lease.whole:
            for pool, pages in zip(self.pools, lease.pages, strict=True):
                pool.announce(tokens, pages)

    def finish(self, lease: Lease, held: int) -> None:
        """The first `held` tokens of a lease are computed."""
        if lease.whole:
            for pool, pages in zip(self.pools, lease.pages, strict=True):
                pool.finish(pages[: held // PAGE])

    def release(self, lease: Lease) -> None:
        """The request is done with its pages."""
        for pool, pages in zip(self.pools, lease.pages, strict=True):
            pool.release(pages)

    def _needs(self, length: int) -> list[int]:
        return [group.pages_for(length, self.span) for group in self.groups]

    def _is_whole(self, length: int) -> bool:
        return all(need == -(-length // PAGE) for need in self._needs(length))

    def _shared(self, tokens: Sequence[int]) -> list[tuple[int, ...]]:
        """As many pages of each group as all of them have."""
        found: list[Prefix] = [pool.prefix_of(tokens) for pool in self.pools]
        common = min(len(prefix.pages) for prefix in found)
        return [prefix.pages[:common] for prefix in found]
