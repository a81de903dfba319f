"""Sparse attention against its twin: softmax over all pairs, those hidden that `visible` hides."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from ensue.core.native import kernels
from ensue.model.patterns import Banded, Dense, Fixed, Strided, TwoWay
from ensue.model.sparse import sparse_attention
from ensue.model.sparse_flex import block_mask, flex_sparse_attention
from ensue.model.sparse_layout import layouts, runs_within
from ensue.model.sparse_tiles import Tiles

needs_kernels = pytest.mark.skipif(kernels() is None, reason="this machine has no bf16 kernels, or no compiler")

LENGTH = st.sampled_from([1, 2, 3, 7, 31, 40, 64, 97, 128, 129, 200, 300])
STRIDE = st.sampled_from([1, 2, 3, 5, 8, 16, 31, 32, 50, 100, 128, 140, 350])
SETS = ("both", "first", "second")


@st.composite
def patterns(draw):
    stride = draw(STRIDE)
    summary = draw(st.integers(1, min(stride, 9)))
    fixed = [Fixed(stride, summary, part, spread=spread) for part in SETS for spread in (False, True)]
    return draw(st.sampled_from([Dense(), Banded(stride), *(Strided(stride, part) for part in SETS), *fixed]))


def seen(pattern, heads, length, segments=None):
    """(1 or B, H, T, T): the definition, pair by pair."""
    place = torch.arange(length)
    mask = pattern.visible(place[:, None], place, torch.arange(heads)[:, None, None]).expand(1, heads, length, length)
    return mask if segments is None else mask & (segments[:, None, :, None] == segments[:, None, None, :])


def dense_twin(query, key, value, mask, scale):
    return (query @ key.mT * scale).masked_fill(~mask, float("-inf")).softmax(-1) @ value


def sample(rows, heads, length, width, *, dtype, seed=0, sharpness=1.0):
    """Queries, keys and values as a product of one matrix leaves them: (B, H, T, D) views of one (B, T, 3, H, D)."""
    made = torch.randn(
        rows, length, 3, heads, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    made[:, :, 0] *= sharpness
    return [part.transpose(1, 2) for part in made.to(dtype).unbind(2)]


def documents(rows, length, seed):
    """Numbers in no order; where they change differs from row to row."""
    ends = torch.rand(rows, length, generator=torch.Generator().manual_seed(seed)) < 0.06
    return -3 * ends.long().cumsum(1)


def result_and_gradients(function, inputs, outer):
    inputs = [x.detach().requires_grad_() for x in inputs]
    out = function(*inputs)
    return [out.detach(), *torch.autograd.grad(out, inputs, outer.to(out.dtype))]


@settings(max_examples=60)
@given(patterns(), LENGTH, st.integers(1, 3))
def test_every_visible_pair_is_in_one_part_and_nothing_else_is_in_any(pattern, length, heads):
    found = torch.zeros(heads, length, length, dtype=torch.int64)
    place = torch.arange(length).expand(1, heads, -1)[..., None]
    head = torch.arange(heads)[None, :, None, None].expand(1, heads, length, 1)
    for layout in layouts(pattern, place.shape, place.device):
        runs = layout.runs()
        rows, queries, keys = (
            f(x, fill=length)[..., 0]
            for f, x in ((layout.queries, head), (layout.queries, place), (layout.keys, place))
        )
        index = torch.arange(keys.shape[1])
        inside = (runs.first[..., None] <= index) & (index <= runs.last[..., None])
        inside = inside.expand(*queries.shape, -1) & (queries < length)[..., None]  # padded queries see what they like
        sequence, query, key = inside.nonzero(as_tuple=True)
        where = rows[sequence, query], queries[sequence, query], keys[sequence, key]
        found.index_put_(where, torch.tensor(1), accumulate=True)
    assert torch.equal(found, seen(pattern, heads, length)[0].long())


@settings(max_examples=150)
@given(patterns(), LENGTH, st.sampled_from([(1, 1, 4), (2, 3, 8), (3, 2, 5)]), st.booleans(), st.integers(0, 99))
def test_the_result_and_all_gradients_are_those_of_the_dense_twin(pattern, length, shape, packed, seed):
    rows, heads, width = shape
    inputs = sample(rows, heads, length, width, dtype=torch.float64, seed=seed, sharpness=3)
    outer = torch.randn(rows, heads, length, width, dtype=torch.float64)
    segments = documents(rows, length, seed) if packed else None
    mask = seen(pattern, heads, length, segments)
    found = result_and_gradients(lambda *x: sparse_attention(*x, pattern, scale=0.4, segments=segments), inputs, outer)
    expected = result_and_gradients(lambda *x: dense_twin(*x, mask, 0.4), inputs, outer)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-9)


EVERY_KIND = [
    Banded(70), Banded(300), Strided(32), Strided(45, "first"), Strided(40, "second"), Fixed(50, 7),
    Fixed(32, 8, spread=True), Fixed(45, 4, "first"), Fixed(40, 3, "second"), Fixed(64, 8, "second", spread=True),
]  # fmt: skip


def relative_errors(found, exact):
    return [float((one.double() - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True)]


@pytest.mark.parametrize("pattern", EVERY_KIND, ids=str)
@pytest.mark.parametrize("packed", [False, True], ids=["one document", "several"])
@pytest.mark.parametrize(
    ("width", "times"),
    [
        pytest.param(64, 1.5, id="kernel", marks=needs_kernels),
        # Scores leave a bf16 product as bf16: the price of having no kernel.
        pytest.param(48, 8, id="tiles"),
    ],
)
def test_bf16_is_about_as_exact_as_torchs_own_attention(pattern, packed, width, times):
    rows, heads, length = 2, 3, 333
    inputs = sample(rows, heads, length, width, dtype=torch.bfloat16, sharpness=2)
    outer = torch.randn(rows, heads, length, width, generator=torch.Generator().manual_seed(1)).bfloat16()
    segments = documents(rows, length, 5) if packed else None
    mask = seen(pattern, heads, length, segments)
    scale = width**-0.5
    exact = result_and_gradients(lambda *x: dense_twin(*x, mask, scale), [x.double() for x in inputs], outer)
    found = result_and_gradients(
        lambda *x: sparse_attention(*x, pattern, scale=scale, segments=segments), inputs, outer
    )
    peer = result_and_gradients(
        lambda *x: F.scaled_dot_product_attention(*x, attn_mask=mask, scale=scale), inputs, outer
    )
    assert all(x.dtype == torch.bfloat16 for x in found)
    for ours, theirs in zip(relative_errors(found, exact), relative_errors(peer, exact), strict=True):
        assert ours < times * theirs + 1e-3


@pytest.mark.parametrize("width", [pytest.param(32, marks=needs_kernels), 24])
@pytest.mark.parametrize("pattern", [Banded(9), Strided(8), Fixed(8, 2)], ids=str)
def test_inputs_and_gradients_may_have_any_strides(pattern, width):
    """Odd strides, reversed dimensions, and the gradient of a sum, which is one number expanded."""
    plain = [x.contiguous() for x in sample(2, 2, 41, width, dtype=torch.bfloat16)]
    odd = [F.pad(x, (0, 1))[..., :-1] for x in plain]
    turned = [x.mT.contiguous().mT for x in plain]
    results = []
    for inputs in (plain, odd, turned):
        inputs = [x.detach().requires_grad_() for x in inputs]
        out = sparse_attention(*inputs, pattern, scale=0.2)
        out.sum().backward()
        results.append([out, *(x.grad for x in inputs)])
    for other in results[1:]:
        for one, expected in zip(other, results[0], strict=True):
            assert torch.equal(one, expected)


@pytest.mark.parametrize("width", [32, 24])
def test_autocast_computes_in_bf16_whatever_it_is_given(width):
    query, key, value = sample(2, 2, 41, width, dtype=torch.float32)
    inputs = [query.requires_grad_(), key.requires_grad_(), value.bfloat16().requires_grad_()]
    with torch.autocast("cpu", torch.bfloat16):
        out = sparse_attention(*inputs, Strided(8), scale=0.2)
    out.float().square().sum().backward()
    expected = sparse_attention(*(x.detach().bfloat16() for x in inputs), Strided(8), scale=0.2)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, expected)
    assert [x.grad.dtype for x in inputs] == [torch.float32, torch.float32, torch.bfloat16]


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for each in out if isinstance(out, list | tuple) else [out]:
            if isinstance(each, torch.Tensor):
                self.elements = max(self.elements, each.numel())
        return out


@pytest.mark.parametrize("width", [pytest.param(32, marks=needs_kernels), 16])
@pytest.mark.parametrize("kind", ["banded", "strided", "fixed", "packed"])
def test_nothing_as_large_as_a_mask_is_ever_made(kind, width):
    length = 4096
    pattern = {"strided": Strided(64), "fixed": Fixed(64, 4)}.get(kind, Banded(64))
    segments = torch.arange(length)[None] // 1000 if kind == "packed" else None
    inputs = [x.requires_grad_() for x in sample(1, 2, length, width, dtype=torch.bfloat16)]
    with Largest() as largest:
        sparse_attention(*inputs, pattern, scale=0.2, segments=segments).sum().backward()
    assert length * width * 2 <= largest.elements <= length * 512


@pytest.mark.parametrize("pattern", [Banded(64), Strided, Fixed])
def test_scores_grow_with_n_or_with_n_root_n(pattern):
    """Four times the tokens: four times the scores, or eight where the stride is the root of the length."""
    totals = []
    for length in (1024, 4096, 16384):
        root = math.isqrt(length)
        each = {Strided: Strided(root), Fixed: Fixed(root, 1)}.get(pattern, pattern)
        shape = torch.Size((1, 1, length, 8))
        scores = 0
        for layout in layouts(each, shape, torch.device("cpu")):
            sequences = layout.queries(torch.empty(shape)).shape[0]
            tiles = Tiles(layout.runs(), sequences=sequences, block=layout.block, dtype=torch.float32)
            scores += sum(math.prod(tile.shape) for tile in tiles)
        totals.append(scores)
        assert scores < 8 * length * root
    bound = 4.2 if pattern == Banded(64) else 8.2
    assert all(after / before < bound for before, after in pairwise(totals))


def test_what_cannot_be_computed_is_refused():
    inputs = sample(1, 1, 6, 4, dtype=torch.float32)
    with pytest.raises(ValueError, match="two-way pattern has no sparse parts"):
        sparse_attention(*inputs, TwoWay(), scale=1.0)
    with pytest.raises(ValueError, match="a document's tokens must be neighbours"):
        sparse_attention(*inputs, Banded(2), scale=1.0, segments=torch.tensor([[0, 0, 1, 1, 0, 0]]))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@settings(max_examples=40)
@given(patterns(), LENGTH, st.booleans())
def test_flex_attention_gives_the_same(pattern, length, packed):
    """As far as a CPU can tell: its FlexAttention has no backward pass."""
    inputs = sample(2, 3, length, 8, dtype=torch.float64)
    segments = documents(2, length, 3) if packed else None
    found = flex_sparse_attention(*inputs, pattern, scale=0.4, segments=segments)
    torch.testing.assert_close(
        found, dense_twin(*inputs, seen(pattern, 3, length, segments), 0.4), atol=1e-6, rtol=1e-5
    )


@settings(max_examples=40)
@given(patterns(), st.sampled_from([64, 200, 400, 700]), st.booleans())
def test_block_masks_hold_every_visible_pair_and_call_whole_only_what_is(pattern, length, packed):
    shape = torch.Size((2, 2, length, 1))
    segments = documents(2, length, 3) if packed else None
    for layout in layouts(pattern, shape, torch.device("cpu")):
        runs = runs_within(layout, segments)
        index = torch.arange(layout.key_count)
        sees = (runs.first[..., None] <= index) & (index <= runs.last[..., None])  # (1 or M, L, S)
        mask = block_mask(runs, rows=2, keys=layout.key_count)
        looked_at = mask.to_dense().flatten(0, 1)
        whole = torch.zeros(mask.full_kv_indices.shape, dtype=torch.bool)
        listed = torch.arange(whole.shape[-1]) < mask.full_kv_num_blocks[..., None]
        whole = whole.scatter(-1, mask.full_kv_indices.long(), listed).flatten(0, 1)
        for place in sees.nonzero()[:: max(1, sees.sum() // 500)].tolist():
            assert looked_at[place[0], place[1] // 128, place[2] // 128]
        for sequence, row, column in whole.nonzero().tolist():
            assert sees[sequence, row * 128 : (row + 1) * 128, column * 128 : (column + 1) * 128].all()
