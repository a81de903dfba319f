"""Hidden tokens: the right share, at places that weigh, the same ones whoever reads them, and new ones each epoch."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.tokens.batch import Batch
from ensue.tokens.masking import Masked, Masking
from ensue.tokens.packing import Packing
from ensue.tokens.shards import Shard

MASK = 1000


def shard_of(lengths: list[int]) -> Shard:
    """A shard of documents of these lengths whose token at place i is i."""
    size = sum(lengths)
    starts = np.cumsum([0, *lengths[:-1]])
    return Shard(Path("memory"), np.arange(size, dtype=np.uint32), starts, len(lengths), size, size, size - 1, "none")


@settings(max_examples=100)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
    numbers=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    context=st.integers(1, 20),
    segments=st.booleans(),
)
def test_what_is_hidden_of_a_sequence(
    lengths: list[int], share: float, seed: int, numbers: list[int], context: int, segments: bool
) -> None:
    shard = shard_of(lengths)
    plain = Packing(shard, context=min(context, len(shard.tokens)), seed=seed, segments=segments)
    masked = Masked(plain, Masking(share, MASK), seed=seed)
    whole, original = masked.read(np.array(numbers)), plain.read(np.array(numbers))
    assert torch.equal(whole.targets, original.tokens)
    assert (whole.segments is None) == (original.segments is None)
    hidden = whole.weights > 0
    assert torch.equal(whole.tokens[~hidden], original.tokens[~hidden])
    assert bool((whole.tokens <= MASK).all())
    assert bool((original.weights[hidden] > 0).all())
    for row in range(len(numbers)):
        allowed = int((original.weights[row] > 0).sum())
        assert int(hidden[row].sum()) == min(allowed, max(1, round(share * allowed)))
    for row, number in enumerate(numbers):  # whoever reads it beside whatever else
        alone = masked.read(np.array([number]))
        assert torch.equal(alone.tokens[0], whole.tokens[row])
        assert torch.equal(alone.weights[0], whole.weights[row])
    digests = [[piece.tolist() for piece in sequences.tokens(np.array(numbers))] for sequences in (plain, masked)]
    assert digests[0] == digests[1]
    assert masked.places(np.array(numbers)).tolist() == plain.places(np.array(numbers)).tolist()


def test_most_become_the_mask_some_another_token_and_some_stay() -> None:
    """Devlin et al. (2019), section 3.1: 80%, 10% and 10% of 15%."""
    tokens = torch.full((400, 200), 7)
    batch = Masking(0.15, MASK).hide(Batch(tokens, tokens, torch.ones(400, 200)), range(400))
    assert batch.weights.sum(1).tolist() == [30.0] * 400
    seen = batch.tokens[batch.weights > 0]
    shares = [float(each.double().mean()) for each in (seen == MASK, (seen != MASK) & (seen != 7), seen == 7)]
    assert np.allclose(shares, [0.8, 0.1, 0.1], atol=0.01)  # three standard errors of 12,000
    others = seen[(seen != MASK) & (seen != 7)].double()
    assert abs(float(others.mean()) - (MASK - 1) / 2) < 30
    columns = batch.weights.mean(0)  # no place is dearer than another
    assert abs(float(columns.std()) - (0.15 * 0.85 / 400) ** 0.5) < 0.006


def test_each_epoch_hides_other_tokens() -> None:
    shard = shard_of([500])
    masked = Masked(Packing(shard, context=50, seed=3), Masking(0.15, MASK), seed=3)
    first, second = (masked.read(np.arange(10 * epoch, 10 * epoch + 10)) for epoch in (0, 1))
    hidden = [set(batch.targets[batch.weights > 0].tolist()) for batch in (first, second)]
    assert len(hidden[0] & hidden[1]) < len(hidden[0]) / 2
    other = Masked(masked.sequences, Masking(0.15, MASK), seed=4).read(np.arange(10))
    assert not torch.equal(other.weights, first.weights)
