"""Mixtures: proportions kept at every scale, each part walked through by its own order, equal on any processes."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.tokens.mixture import Mixed, MixturePart, Turns
from ensue.tokens.packing import Packing
from ensue.tokens.shards import DocumentSpan, Shard
from ensue.tokens.stream import BatchRamp, SequenceStream
from ensue.tokens.weights import Weight, sums_of


def shard_of(size: int, first: int, documents: int = 1) -> Shard:
    """A shard whose token at place i is first + i."""
    starts = np.linspace(0, size, documents, endpoint=False).astype(np.int64)
    tokens = np.arange(first, first + size, dtype=np.uint32)
    return Shard(Path("memory"), tokens, starts, documents, size, first + size, first + size - 1, "none")


class NamedShard(Shard):
    """Spans without a file of documents."""

    def spans(self, indices):
        stops = np.append(self.starts[1:], len(self.tokens))
        return [DocumentSpan(f"d{i}", "memory", int(self.starts[i]), int(stops[i])) for i in indices]


def mixed_of(sizes, weights, *, context=4, length=200, seed=3, segments=False) -> Mixed:
    firsts = np.cumsum([0, *sizes[:-1]])
    parts = [
        MixturePart(f"part {place}", NamedShard(**vars(shard_of(size, int(first), 3))), weight)
        for place, (size, first, weight) in enumerate(zip(sizes, firsts, weights, strict=True))
    ]
    return Mixed(parts, context=context, seed=seed, length=length, segments=segments)


@st.composite
def weightings(draw):
    """Weights of 1 to 6 parts that add up to 1, constant or along lines."""
    parts = draw(st.integers(1, 6))
    shares = sorted({0.0, 1.0, *draw(st.lists(st.floats(0.05, 0.95), max_size=2))})
    columns = [draw(st.lists(st.floats(0.001, 1), min_size=parts, max_size=parts)) for _ in shares]
    if draw(st.booleans()):
        return [Weight.constant(value / sum(columns[0])) for value in columns[0]]
    rows = [[value / sum(column) for value in column] for column in columns]
    return [Weight(tuple((share, row[part]) for share, row in zip(shares, rows, strict=True))) for part in range(parts)]


@settings(max_examples=100)
@given(weights=weightings(), length=st.integers(1, 6000), seed=st.integers(0, 2**62))
def test_proportions_are_kept_at_every_point_of_a_run(weights, length, seed):
    turns = Turns(weights, length=length, seed=seed)
    parts, own = turns.of(np.arange(length))
    for part in range(len(weights)):
        assert own[parts == part].tolist() == list(range(int((parts == part).sum())))
    had = np.cumsum(parts[:, None] == np.arange(len(weights)), axis=0)
    middles = np.minimum((np.arange(length) + 0.5) / length, 1.0)
    due = np.cumsum([[weight.at(share) for weight in weights] for share in middles], axis=0)
    # Inside a block the weights stand still, so where they change it lags behind a little.
    assert np.abs(had - due).max() < 4 + turns.block / 256 * any(len(weight.points) > 1 for weight in weights)
    assert turns.counts(length).tolist() == had[-1].tolist()


@settings(max_examples=60)
@given(weights=weightings(), length=st.integers(1, 6000))
def test_what_a_block_owes_is_less_than_two(weights, length):
    turns = Turns(weights, length=length, seed=0)
    blocks = -(-length // turns.block)
    middles = np.minimum((np.arange(blocks) + 0.5) * turns.block / length, 1.0)
    due = np.cumsum([[turns.block * weight.at(share) for weight in weights] for share in middles], axis=0)
    had = np.array([turns.before(block + 1) for block in range(blocks)])
    assert np.abs(had - due).max() < 2


def test_turns_are_a_function_of_the_number_alone():
    weights = [Weight.constant(0.2), Weight(((0.0, 0.5), (1.0, 0.1))), Weight(((0.0, 0.3), (1.0, 0.7)))]
    whole = np.stack(Turns(weights, length=5000, seed=1).of(np.arange(5000)))
    draw = np.random.default_rng(0)
    for _ in range(20):
        some = draw.integers(0, 5000, 17)
        assert np.array_equal(np.stack(Turns(weights, length=5000, seed=1).of(some)), whole[:, some])
    assert not np.array_equal(np.stack(Turns(weights, length=5000, seed=2).of(np.arange(5000))), whole)


def test_a_part_without_weight_never_has_its_turn():
    turns = Turns([Weight.constant(0.0), Weight.constant(1.0)], length=3000, seed=0)
    assert turns.counts(3000).tolist() == [0, 3000]


@settings(max_examples=30)
@given(seed=st.integers(0, 2**62), segments=st.booleans(), context=st.integers(1, 9))
def test_each_part_is_walked_through_by_its_own_packing(seed, segments, context):
    weights = [Weight.constant(0.7), Weight.constant(0.3)]
    mixed = mixed_of([60, 35], weights, context=context, seed=seed, segments=segments)
    numbers = np.arange(150)
    parts, own = mixed.turns.of(numbers)
    whole = mixed.read(numbers)
    for place, packing in enumerate(mixed.packings):
        rows = torch.from_numpy(np.flatnonzero(parts == place))
        alone = packing.read(own[parts == place])
        assert torch.equal(whole.tokens[rows], alone.tokens)
        assert torch.equal(whole.targets[rows], alone.targets)
        assert torch.equal(whole.weights[rows], alone.weights)
        assert not segments or torch.equal(whole.segments[rows], alone.segments)
        epoch = alone.targets[: packing.windows][alone.weights[: packing.windows] > 0]
        assert sorted(epoch.tolist()) == packing.shard.tokens.tolist()  # each token once in its part's epoch


@settings(max_examples=30)
@given(processes=st.integers(1, 3), micro_batch=st.integers(1, 4), step=st.integers(0, 40))
def test_any_number_of_processes_reads_the_same_step(processes, micro_batch, step):
    mixed = mixed_of([60, 35, 20], [Weight.constant(0.5), Weight.constant(0.3), Weight.constant(0.2)])
    options = {"batch": BatchRamp(3, 7, 10), "micro_batch": micro_batch}
    streams = [SequenceStream(mixed, **options, rank=rank, processes=processes) for rank in range(processes)]
    alone = SequenceStream(mixed, batch=options["batch"], micro_batch=99)
    together = [row for stream in streams for batch in stream.batches(step) for row in rows_that_count(batch)]
    assert together == [row for batch in alone.batches(step) for row in rows_that_count(batch)]


def rows_that_count(batch) -> list[list[int]]:
    return [row.tolist() for row, weights in zip(batch.tokens, batch.weights, strict=True) if weights.sum() > 0]


def test_documents_and_tokens_are_told_with_their_parts():
    mixed = mixed_of([60, 35], [Weight.constant(0.5), Weight.constant(0.5)])
    numbers = np.arange(40, 52)
    batch, owned = mixed.read(numbers), mixed.tokens_of_documents(numbers)
    assert sum(tokens for _, tokens in owned) == batch.tokens.numel()
    counted = Counter()
    for token in batch.tokens.flatten().tolist():
        part, place = ("part 0", token) if token < 60 else ("part 1", token - 60)
        (span,) = [span for span, _ in owned if span.part == part and span.start <= place < span.stop]
        counted[span] += 1
    assert counted == {span: tokens for span, tokens in owned if tokens}
    assert [span for span, _ in owned] == mixed.documents(numbers)
    assert [row.tolist() for row in mixed.tokens(numbers)] == [
        [*row, int(last)] for row, last in zip(batch.tokens.tolist(), batch.targets[:, -1], strict=True)
    ]
    assert len(set(mixed.places(np.arange(10)).tolist())) == 10
    span = mixed.documents(numbers)[-1]
    assert mixed.text_tokens(span).tolist() == list(range(60 + span.start, 60 + span.stop - 1))


def test_parts_of_one_size_are_not_walked_through_in_step():
    mixed = mixed_of([400, 400], [Weight.constant(0.5), Weight.constant(0.5)])
    first, second = (packing.places(np.arange(50)).tolist() for packing in mixed.packings)
    assert first != second


def test_a_part_smaller_than_a_context_is_named():
    with pytest.raises(ValueError, match=r"part 1: .*3 tokens"):
        mixed_of([60, 3], [Weight.constant(0.5), Weight.constant(0.5)])


def test_weights_along_lines():
    weight = Weight(((0.0, 0.1), (0.5, 0.3), (1.0, 0.3)))
    assert weight.at(0.25) == pytest.approx(0.2)
    assert weight.mean == pytest.approx(0.25)
    assert sums_of([weight, Weight.constant(0.5)]) == [(0.0, 0.6), (0.5, 0.8), (1.0, 0.8)]
    for points in ((), ((0.5, 1.0), (0.2, 1.0)), ((0.0, -1.0),), ((0.0, 1.0), (1.5, 1.0))):
        with pytest.raises(ValueError, match="weight"):
            Weight(points)


def test_one_part_alone_reads_what_its_packing_reads():
    shard = shard_of(50, 0)
    mixed = Mixed([MixturePart("all", shard, Weight.constant(1.0))], context=4, seed=9, length=99)
    packing = Packing(shard, context=4, seed=mixed.packings[0].seed)
    assert torch.equal(mixed.read(np.arange(30)).tokens, packing.read(np.arange(30)).tokens)
