"""The stream's promises, by brute force: every token once, the same batch from any number of processes."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.document import Document
from ensue.tokens.shards import DocumentSpan, Shard, write_shard
from ensue.tokens.stream import BatchRamp, PackedStream, evaluation_batches


@dataclass(frozen=True)
class Case:
    shard: Shard
    context: int
    seed: int


def shard_of(lengths: list[int], folder: Path = Path("memory")) -> Shard:
    """A shard of documents of these lengths whose token at place i is i, so that each token can be told apart."""
    size = sum(lengths)
    starts = np.cumsum([0, *lengths[:-1]])
    return Shard(folder, np.arange(size, dtype=np.uint32), starts, len(lengths), size, size, size - 1, "none")


@st.composite
def cases(draw):
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=12))
    context = draw(st.integers(1, sum(lengths)))
    return Case(shard_of(lengths), context, draw(st.integers(0, 2**63)))


ramps = st.builds(BatchRamp, st.integers(1, 9), st.integers(1, 9), st.integers(0, 20))


def stream_of(case, *, batch, micro_batch=3, rank=0, processes=1, segments=False):
    return PackedStream(
        case.shard, context=case.context, batch=batch, micro_batch=micro_batch, seed=case.seed,
        rank=rank, processes=processes, segments=segments,
    )  # fmt: skip


def rows(stream, step):
    """Each row of the step as (inputs, targets, weights)."""
    for batch in stream.batches(step):
        yield from zip(batch.tokens.tolist(), batch.targets.tolist(), batch.weights.tolist(), strict=True)


@settings(max_examples=200)
@given(case=cases(), epoch=st.integers(0, 3))
def test_each_token_is_a_target_exactly_once_an_epoch(case, epoch):
    stream = stream_of(case, batch=BatchRamp(1, 1))
    size = len(case.shard.tokens)
    targets = Counter()
    for step in range(epoch * stream.windows, (epoch + 1) * stream.windows):
        for inputs, outputs, weights in rows(stream, step):
            assert outputs == [(token + 1) % size for token in inputs]
            assert len(inputs) == case.context
            targets.update(token for token, weight in zip(outputs, weights, strict=True) if weight)
            assert set(weights) <= {0.0, 1.0}
    assert targets == Counter(range(size))


@settings(max_examples=200)
@given(case=cases(), ramp=ramps, processes=st.integers(1, 4), micro=st.integers(1, 20), step=st.integers(0, 30))
def test_any_number_of_processes_and_any_micro_batch_see_the_same_rows(case, ramp, processes, micro, step):
    whole = list(rows(stream_of(case, batch=ramp, micro_batch=100), step))
    assert len(whole) == ramp.at(step)
    if max(ramp.at(each) for each in range(ramp.steps + 1)) < processes:
        with pytest.raises(ValueError, match=f"at most {ramp.end} such processes"):
            stream_of(case, batch=ramp, processes=processes)
        return
    shares, micro_batches = [], set()
    for rank in range(processes):
        stream = stream_of(case, batch=ramp, micro_batch=micro, rank=rank, processes=processes)
        batches = list(stream.batches(step))
        assert all(1 <= len(batch.tokens) <= micro for batch in batches)
        micro_batches.add(len(batches))
        shares.append([row for row in rows(stream, step) if any(row[-1])])  # without what only fills up
    assert [row for share in shares for row in share] == whole
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len(micro_batches) == 1  # the processes meet in each of them


@settings(max_examples=100)
@given(case=cases(), ramp=ramps, steps=st.lists(st.integers(0, 60), min_size=1, max_size=10))
def test_a_step_is_a_function_of_the_seed_whatever_was_read_before(case, ramp, steps):
    travelled = stream_of(case, batch=ramp)
    for step in steps:
        assert list(rows(travelled, step)) == list(rows(stream_of(case, batch=ramp), step))


@settings(max_examples=200)
@given(ramp=ramps, step=st.integers(0, 60))
def test_before_is_the_sum_of_at(ramp, step):
    assert ramp.before(step) == sum(ramp.at(earlier) for earlier in range(step))
    assert ramp.at(0) == (ramp.start if ramp.steps else ramp.end)
    assert ramp.at(ramp.steps) == ramp.at(ramp.steps + 100) == ramp.end
    assert min(ramp.start, ramp.end) <= ramp.at(step) <= max(ramp.start, ramp.end)


@settings(max_examples=200)
@given(case=cases(), ramp=ramps, step=st.integers(0, 40))
def test_segments_change_after_each_document(case, ramp, step):
    starts = set(case.shard.starts.tolist())
    for batch in stream_of(case, batch=ramp, segments=True).batches(step):
        assert batch.segments.dtype == torch.int32
        for inputs, numbers in zip(batch.tokens.tolist(), batch.segments.tolist(), strict=True):
            number, expected = 0, []
            for place, token in enumerate(inputs):
                number += place > 0 and token in starts
                expected.append(number)
            assert numbers == expected


def test_documents_of_a_step_are_those_of_its_tokens(small_tokenizer, tmp_path):
    documents = [Document.of("ab " * (number % 5), f"{number}.txt") for number in range(23)]
    shard = write_shard(documents, tmp_path / "shard", tokenizer=small_tokenizer)
    numbered = shard_of(np.diff([*shard.starts, len(shard.tokens)]).tolist())
    for seed in range(12):
        for context in (1, 3, 10, len(shard.tokens) - 1, len(shard.tokens)):
            stream = stream_of(Case(shard, context, seed), batch=BatchRamp(1, 3, 5))
            places = stream_of(Case(numbered, context, seed), batch=BatchRamp(1, 3, 5))
            for step in range(12):
                # A position whose target weighs nothing lies behind the last one that does, where nothing sees it.
                seen = set()
                for inputs, targets, weights in rows(places, step):
                    counted = [pair for *pair, weight in zip(inputs, targets, weights, strict=True) if weight]
                    seen.update(place for pair in counted for place in pair)
                holding = sorted({int(np.searchsorted(shard.starts, place, side="right")) - 1 for place in seen})
                assert stream.documents(step) == shard.spans(holding)
                assert all(isinstance(span, DocumentSpan) for span in stream.documents(step))


@settings(max_examples=200)
@given(case=cases(), data=st.data())
def test_evaluation_scores_each_token_once_in_order(case, data):
    size = len(case.shard.tokens)
    context = data.draw(st.integers(1, size + 5))
    stride = data.draw(st.none() | st.integers(1, context))
    limit = data.draw(st.none() | st.integers(1, size + 5))
    scored, before = [], []
    micro_batch = data.draw(st.integers(1, 5))
    for batch in evaluation_batches(
        case.shard, context=context, micro_batch=micro_batch, stride=stride, limit_tokens=limit, segments=True
    ):
        assert batch.tokens.shape == batch.targets.shape == batch.weights.shape == batch.segments.shape
        assert len(batch.tokens) <= micro_batch
        for inputs, targets, weights in zip(
            batch.tokens.tolist(), batch.targets.tolist(), batch.weights.tolist(), strict=True
        ):
            counted = [place for place, weight in enumerate(weights) if weight]
            scored += [targets[place] for place in counted]
            before += [inputs[place] for place in counted]
            if len(scored) > context and len(counted) == stride:
                assert counted[0] == context - stride
    expected = list(range(size if limit is None else min(limit, size)))
    assert scored == expected
    assert before == [case.shard.end, *expected[:-1]]


def test_evaluation_segments_start_after_the_first_end_token():
    shard = shard_of([3, 2, 4])
    (batch,) = evaluation_batches(shard, context=9, micro_batch=4, segments=True)
    assert batch.segments.tolist() == [[0, 1, 1, 1, 2, 2, 3, 3, 3]]


def test_epochs_differ_in_order_and_in_cut():
    case = Case(shard_of([1000]), 10, 7)
    stream = stream_of(case, batch=BatchRamp(100, 100))
    first, second = (list(rows(stream, step)) for step in (0, 1))
    assert {inputs[0] % 10 for inputs, _, _ in first} != {inputs[0] % 10 for inputs, _, _ in second}
    assert [inputs[0] for inputs, _, _ in first] != sorted(inputs[0] for inputs, _, _ in first)
    assert np.argsort(stream.places(0)).tolist() != np.argsort(stream.places(1)).tolist()
    other = stream_of(Case(case.shard, 10, 8), batch=BatchRamp(100, 100))
    assert list(rows(other, 0)) != first
    assert (stream.epoch(0), stream.epoch(3)) == (0.0, 3.0)


def test_batches_are_the_types_a_model_takes(small_tokenizer, tmp_path):
    shard = write_shard([Document.of("some text " * 50, "a")], tmp_path / "s", tokenizer=small_tokenizer)
    stream = stream_of(Case(shard, 8, 1), batch=BatchRamp(4, 4))
    for batch in stream.batches(0):
        assert (batch.tokens.dtype, batch.targets.dtype, batch.weights.dtype) == (
            torch.int64,
            torch.int64,
            torch.float32,
        )
        assert batch.segments is None
        assert batch.tokens.is_contiguous()
        assert batch.targets.is_contiguous()
        assert torch.equal(batch.tokens[:, 1:], batch.targets[:, :-1])


def test_sizes_that_cannot_be_are_refused():
    shard = shard_of([5, 6])
    with pytest.raises(ValueError, match="holds 11 tokens, less than one context of 12; use a context of at most 11"):
        stream_of(Case(shard, 12, 0), batch=BatchRamp(1, 1))
    with pytest.raises(ValueError, match="count from 0"):
        stream_of(Case(shard, 4, 0), batch=BatchRamp(2, 2), rank=2, processes=2)
    with pytest.raises(ValueError, match="batch ramp"):
        BatchRamp(0, 4)
    with pytest.raises(ValueError, match="stride"):
        next(evaluation_batches(shard, context=4, micro_batch=1, stride=5))
    with pytest.raises(ValueError, match="1 or more"):
        next(evaluation_batches(shard, context=4, micro_batch=0))
