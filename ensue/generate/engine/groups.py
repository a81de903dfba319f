"""Layers that keep the same keys and values: all that were, or those that their pattern can still show.

Each group has pages of its own. Where layers see so many positions back, or their own block, a long request has only as
many pages as that needs, and writes over those that nothing sees any more. Summaries of earlier blocks, which all later
ones see, are in a group beside, one slot after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ensue.generate.engine.pages import PAGE, PagePool, Prefix
from ensue.model.cache_store import Kept, kept_of, summary_count
from ensue.model.config import GPTConfig
from ensue.model.patterns import Pattern


@dataclass(frozen=True)
class Group:
    """Layers, by number, and what is `kept` for them: the near positions, or their summaries where it is `far`."""

    kept: Kept
    layers: tuple[int, ...]
    heads: int
    context: int
    far: bool = False

    def pages_for(self, length: int, span: int) -> int:
        """Pages of a request of `length` tokens, of which up to `span` are computed in one pass.

        None are far where the near ones are all that there are: summaries are among them then.
        """
        drops = self._drops(span)
        whole = _pages(length)
        near = _near_pages(self.kept, length, span) if drops else whole
        if not self.far:
            return near
        return self._far(length) if near < whole else 0

    def _drops(self, span: int) -> bool:
        """Whether a request as long as the context takes less than all of its pages."""
        return _near_pages(self.kept, self.context, span) + self._far(self.context) < _pages(self.context)

    def _far(self, length: int) -> int:
        """Pages of the summaries that are not near any more when the last token is computed."""
        return _pages(summary_count(self.kept.summaries, self.kept.first(length - 1), heads=self.heads))


def kept_by(pattern: Pattern, config: GPTConfig) -> Kept:
    """What is kept for a pattern in a model's context, which may be too short for it to drop anything."""
    kept = kept_of(pattern)
    return kept if kept.reach is not None and kept.reach < config.context else Kept(None)


def groups_of(config: GPTConfig) -> tuple[Group, ...]:
    """The groups of a model's layers, those that see everything first and those of summaries last."""
    by_kept: dict[Kept, list[int]] = {}
    for layer in range(config.layers):
        by_kept.setdefault(kept_by(config.pattern(layer), config), []).append(layer)
    near = [Group(kept, tuple(layers), config.heads, config.context) for kept, layers in by_kept.items()]
    near.sort(key=lambda group: group.kept.reach or 0)
    return (*near, *(replace(group, far=True) for group in near if group.kept.summaries is not None))


def pages_in(config: GPTConfig, cache_bytes: int, *, value_bytes: int, span: int) -> tuple[int, ...]:
    """Pages of each group in so much memory: in proportion to what a request of the whole context takes of each."""
    groups = groups_of(config)
    of_one = [group.pages_for(config.context, span) for group in groups]
    sizes = [2 * len(group.layers) * PAGE * config.width * value_bytes for group in groups]
    share = cache_bytes / sum(count * size for count, size in zip(of_one, sizes, strict=True))
    return tuple(max(1, int(share * count)) if count else 0 for count in of_one)


@dataclass(frozen=True)
class Lease:
    """The pages of a request, of each group; the first `shared` tokens were there already. `whole`: all its tokens
    have pages that none is written over, so that what it computes may be read by others."""

    groups: tuple[Group, ...]
    pages: tuple[tuple[int, ...], ...]
    shared: int
    whole: bool

    def row(self, group: int, length: int) -> list[int]:
        """The page of each 16 tokens of a request of `length`, or of 16 summaries; -1 where they have none."""
        own, count = self.pages[group], _pages(length)
        if self.groups[group].far:
            return [*own, *[-1] * (count - len(own))]
        return [own[place % len(own)] for place in range(count)]


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
        lease = Lease(self.groups, pages, len(shared[0]) * PAGE, whole)
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
        needs = zip(self._needs(length), self.groups, strict=True)
        return all(need == _pages(length) for need, group in needs if not group.far)

    def _shared(self, tokens: Sequence[int]) -> list[tuple[int, ...]]:
        """As many pages of each group as all of them have."""
        found: list[Prefix] = [pool.prefix_of(tokens) for pool in self.pools]
        common = min(len(prefix.pages) for prefix, group in zip(found, self.groups, strict=True) if not group.far)
        return [prefix.pages[:common] for prefix in found]


@lru_cache(maxsize=4096)
def _near_pages(kept: Kept, length: int, span: int) -> int:
    """The most pages that a pass writes and sees near: of the passes that end on a page, the one that begins first."""
    return max(last - kept.first(max(0, last * PAGE - span + 1)) // PAGE + 1 for last in range(_pages(length)))


def _pages(slots: int) -> int:
    """Pages of so many slots."""
    return -(-slots // PAGE)
