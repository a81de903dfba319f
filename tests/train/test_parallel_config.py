"""The sizes of a mesh, the order in which layers are cut, and what cannot be shared out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ensue.loss.next_token import NextToken
from ensue.loss.shared_targets import SharedTargets
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.tokens.batch import Batch
from ensue.train.parallel import ParallelConfig, Place, check_gpus
from ensue.train.parallel_layers import from_cut_order, to_cut_order

SIZES = st.integers(1, 6)
MAYBE = st.none() | SIZES


@given(data=MAYBE, shard=MAYBE, tensor=SIZES, processes=st.integers(1, 36))
def test_a_mesh_is_what_was_said_and_fills_all_processes_or_is_refused(
    data: int | None, shard: int | None, tensor: int, processes: int
) -> None:
    fitting = {
        (copies, pieces, tensor)
        for copies in ([data] if data is not None else range(1, processes + 1))
        for pieces in ([shard] if shard is not None else range(1, processes + 1))
        if copies * pieces * tensor == processes
    }
    config = ParallelConfig(data, shard, tensor)
    if not fitting:
        with pytest.raises(ValueError, match=f"this run has {processes}.*such as --parallel.data {processes} "):
            config.sizes(processes)
        return
    sizes = config.sizes(processes)
    assert sizes in fitting
    if data is None and shard is None:
        assert sizes[0] == 1


def test_what_a_mesh_of_another_size_is_told() -> None:
    with pytest.raises(
        ValueError, match=r"data 2 x shard 4 x tensor 1 is for 8 processes, and this run has 6. Start 8"
    ):
        ParallelConfig(data=2, shard=4).sizes(6)
    with pytest.raises(ValueError, match="shard 4 x tensor 1 is for 4 processes or a multiple of them"):
        ParallelConfig(shard=4).sizes(6)
    with pytest.raises(ValueError, match=r"parallel.shard must be 1 or more, not 0"):
        ParallelConfig(shard=0)


def test_places_fill_the_mesh() -> None:
    places = [Place(rank, data=2, shard=3, tensor=2) for rank in range(12)]
    assert sorted((place.reader, place.tensor_rank) for place in places) == [(r, t) for r in range(6) for t in range(2)]
    assert [place.rank for place in places if place.leads] == [0]
    assert places[0].readers == 6
    assert not Place(3, data=4).sharded


@given(tensor=st.sampled_from([1, 2, 4]), head=st.integers(1, 3), heads=st.sampled_from([4, 8]))
def test_each_process_of_a_tensor_group_gets_whole_heads(tensor: int, head: int, heads: int) -> None:
    """Row r of (3, heads, head) is labelled with what it is; each part must hold the queries, keys and values of its
    own heads, in the order in which attention reads them."""
    labels = [(part, h, row) for part in "qkv" for h in range(heads) for row in range(head)]
    value = torch.arange(len(labels))
    cut = to_cut_order("blocks.1.attention.qkv.weight/exp_avg", value, tensor)
    assert torch.equal(from_cut_order("blocks.1.attention.qkv.weight", cut, tensor), value)
    for mine, piece in enumerate(cut.chunk(tensor)):
        own = range(heads * mine // tensor, heads * (mine + 1) // tensor)
        assert [labels[row] for row in piece.tolist()] == [(p, h, r) for p in "qkv" for h in own for r in range(head)]
    untouched = torch.arange(12)
    assert to_cut_order("blocks.0.attention.out.weight", untouched, tensor) is untouched
    assert to_cut_order("blocks.1.attention.qkv.weight/step", torch.tensor(3.0), tensor) == 3


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shared_targets_are_each_scored_once(parts: int) -> None:
    config = gpt2(layers=1, width=8, heads=2, context=5, vocab=11)
    model = GPT.build(config, 0).double()
    text = torch.randint(11, (3, 6), generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([[1, 0, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 1, 0]], dtype=torch.float32)
    batch = Batch(text[:, :-1], text[:, 1:], weights)
    shares = [SharedTargets(NextToken(), part=part, parts=parts) for part in range(parts)]
    assert sum(share.count(batch) for share in shares) == 9
    losses = [share.loss(model, batch) for share in shares]
    assert sum(loss.count for loss in losses) == 9
    whole = NextToken().loss(model, batch).total
    assert float(sum(loss.total.detach() for loss in losses)) == pytest.approx(float(whole.detach()), rel=1e-12)


def test_each_process_has_a_gpu_of_its_own() -> None:
    check_gpus(2, 2)
    with pytest.raises(
        ValueError, match=r"1 is the number of GPUs it sees; type --nproc-per-node 1, or CUDA_VISIBLE_DEVICES= before"
    ):
        check_gpus(4, 1)
