"""Vectors of texts from the model's final states, by the passes and in the pages of the engine that writes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.groups import GroupedPages, Lease
from ensue.generate.engine.pages import PAGE
from ensue.generate.engine.passes import Passes, Tokens

# Legend: N texts, R texts of a pass, P pages of the longest of them, Q tokens of a pass, W width.

Ids = Sequence[int]


def embed(engine: Engine, texts: Sequence[Ids], *, last: bool) -> Generator[None, None, Tensor]:
    """(N, W) float32 vectors of N texts, each the mean of its final states or its last; one pass at a time.

    Short texts share a pass of `engine.pass_tokens` tokens, a longer one is read in pieces of so many. Between passes
    the engine goes on; a text for which all pages are in use waits for some.
    """
    vectors = torch.zeros(len(texts), engine.passes.config.width)
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    while order:
        fitting = _fitting([len(texts[number]) for number in order], engine.pass_tokens)
        with _lent(engine.pool, [texts[number] for number in order[:fitting]]) as leases:
            ours = order[: len(leases)]
            together = [texts[number] for number in ours]
            tables = _tables(engine.pool, leases, together)
            for begin in range(0, max(map(len, together), default=0), engine.pass_tokens):
                pieces = [text[begin : begin + engine.pass_tokens] for text in together]
                states = _final_states(engine.passes, pieces, begin, tables)
                for number, text, own in zip(
                    ours, together, states.split_with_sizes(list(map(len, pieces))), strict=True
                ):
                    vectors[number] = own[-1] if last else vectors[number] + own.sum(0) / len(text)
                yield
        order = order[len(ours) :]
        if not ours:
            yield
    return vectors


def _fitting(lengths: Sequence[int], room: int) -> int:
    """How many texts, the first ones, share a pass: at least one."""
    count = 1
    while count < len(lengths) and sum(lengths[: count + 1]) <= room:
        count += 1
    return count


@contextmanager
def _lent(pool: GroupedPages, texts: Sequence[Ids]) -> Iterator[list[Lease]]:
    """Pages for as many of the texts, the first ones, as there are pages for; what is put into them is not kept."""
    leases: list[Lease] = []
    try:
        for text in texts:
            lease = pool.lend(text, len(text), reuse=False)
            if lease is None:
                break
            leases.append(lease)
        yield leases
    finally:
        for lease in leases:
            pool.release(lease)


def _tables(pool: GroupedPages, leases: Sequence[Lease], texts: Sequence[Ids]) -> list[Tensor]:
    """The pages of each text, (R, P) int32 for each group of layers."""
    pages = -(-max(map(len, texts), default=0) // PAGE)
    tables = [torch.zeros(len(texts), pages, dtype=torch.int32) for _ in pool.groups]
    for group, table in enumerate(tables):
        for own, lease, text in zip(table, leases, texts, strict=True):
            row = lease.row(group, len(text))
            own[: len(row)] = torch.tensor(row, dtype=torch.int32)
    return tables


def _final_states(passes: Passes, pieces: Sequence[Ids], begin: int, tables: Sequence[Tensor]) -> Tensor:
    """(Q, W) float32 states of pieces of texts, one after the other, each of which stands at `begin` of its text."""
    ids = [token for piece in pieces for token in piece]
    places = [begin + i for piece in pieces for i in range(len(piece))]
    rows = [row for row, piece in enumerate(pieces) for _ in piece]
    return passes.states(Tokens(ids, places, rows), tables).cpu()
