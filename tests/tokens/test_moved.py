"""A stream that was moved on reads what the plain one reads later; digests are of exactly what is read."""

import hashlib

import numpy as np
import pytest
import torch

from ensue.text.document import Document
from ensue.tokens.moved import MovedStream
from ensue.tokens.shards import write_shard
from ensue.tokens.stream import BatchRamp, PackedStream


@pytest.fixture(scope="module")
def packed(small_tokenizer, documentation, tmp_path_factory):
    """Documents of very different lengths, so that windows hold parts of several and turn round the end."""
    sizes = [40, 7, 290, 33, 264, 5]
    texts = [text[:size] for text, size in zip(documentation, sizes, strict=False)]
    documents = [Document.of(text, f"topic {number}") for number, text in enumerate(texts)]
    shard = write_shard(documents, tmp_path_factory.mktemp("moved") / "shard", tokenizer=small_tokenizer)
    assert len(shard.tokens) > 60
    return PackedStream(shard, context=8, batch=BatchRamp(3, 3), micro_batch=2, seed=4)


def read(stream, step):
    return torch.cat([batch.tokens for batch in stream.batches(step)])


def test_moves_take_effect_at_their_step_and_add_up(packed):
    stream = MovedStream(packed)
    stream.move(5, 3)
    stream.move(9, 2)
    expected = {4: 4, 5: 8, 8: 11, 9: 14, 20: 25}
    assert {step: stream.place(step) for step in expected} == expected
    for step, place in expected.items():
        assert torch.equal(read(stream, step), read(packed, place))
        assert stream.documents(step) == packed.documents(place)
    stream.move(5, 1)  # back to before the second move, and further on
    assert stream.moves == [(5, 4)]
    assert MovedStream(packed, stream.moves).place(30) == 34


def test_digests_are_of_the_places_and_of_the_tokens_there(packed):
    stream = MovedStream(packed, [(2, 1)])
    size = len(packed.shard.tokens)
    for step in (0, 2, 11):
        places = packed.places(stream.place(step))
        expected = np.asarray(packed.shard.tokens)[(places[:, None] + np.arange(9)) % size]
        assert torch.equal(read(stream, step), torch.from_numpy(expected[:, :-1].astype(np.int64)))
        assert stream.samples_digest(step) == hashlib.sha256(places.astype("<i8").tobytes()).hexdigest()[:16]
        assert stream.tokens_digest(step) == hashlib.sha256(expected.tobytes()).hexdigest()[:16]
    assert len({stream.samples_digest(step) for step in range(20)}) == 20


def test_each_token_that_is_read_is_counted_for_its_document(packed):
    stream = MovedStream(packed)
    size = len(packed.shard.tokens)
    for step in range(12):
        counted = {span.id: tokens for span, tokens in stream.tokens_of_documents(step)}
        expected = dict.fromkeys(counted, 0)
        for first in packed.places(step):
            for place in range(first, first + 8):
                expected[packed.shard.documents_between(place % size, place % size)[0].id] += 1
        assert counted == expected
        assert sum(counted.values()) == 24
