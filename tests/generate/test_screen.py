"""The greatest logits from a coarse product are those of all logits, bit for bit, whatever the head is like."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ensue.core.native import INFERENCE, why_no_kernels
from ensue.generate.engine.engine import Engine
from ensue.generate.engine.passes import PackedPasses
from ensue.generate.engine.requests import Request
from ensue.generate.packed import PackedModel
from ensue.generate.screen import LANES, PAUSE, Greatest, Screen
from ensue.generate.settings import Sampling
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT

VOCAB, WIDTH = 1003, 128
CONFIG = GPTConfig(vocab=VOCAB, context=64, layers=1, width=WIDTH, heads=2, tied=False)
TEXTS = [[1], [2, 3, 4], [500, 7, 8, 9], [10, 999], [4, 4, 4]]

needs_kernels = pytest.mark.skipif(
    why_no_kernels(INFERENCE) is not None, reason=f"no packed kernels here: {why_no_kernels(INFERENCE)}"
)


def head(kind: str, seed: int) -> Tensor:
    """A head of some kind, (VOCAB, WIDTH)."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(VOCAB, WIDTH, generator=generator)
    if kind == "outliers":  # some inputs count for much more than others, and so do some outputs
        weight[:, :3] *= 30
        weight[::50] *= 8
    if kind == "shifted":  # all outputs have much in common
        weight = 0.1 * weight + 5 * torch.randn(WIDTH, generator=generator)
    if kind == "ties":
        weight = weight[:40].repeat(-(-VOCAB // 40), 1)[:VOCAB]
    return weight


def model_with(weight: Tensor) -> GPT:
    model = GPT.build(CONFIG, 0).eval()
    assert model.head is not None
    model.head.weight.data = weight
    return model


def logits(packed: PackedModel, greatest: Greatest | None) -> Tensor:
    """After the last token of each text."""
    ids = [token for text in TEXTS for token in text]
    places = [place for text in TEXTS for place in range(len(text))]
    rows = [row for row, text in enumerate(TEXTS) for _ in text]
    last = [i for i in range(len(ids)) if i + 1 == len(ids) or rows[i + 1] != rows[i]]
    table = torch.arange(len(TEXTS), dtype=torch.int32)[:, None].contiguous()
    caches = packed.new_caches([len(TEXTS)])
    _, found = packed.run(ids, places, rows, tables=[table], caches=caches, wanted=last, greatest=greatest)
    assert found is not None
    return found


@needs_kernels
@settings(max_examples=25)
@given(
    kind=st.sampled_from(["plain", "outliers", "shifted", "ties"]),
    precision=st.sampled_from(["fp32", "bf16"]),
    counts=st.lists(st.integers(1, 40), min_size=len(TEXTS), max_size=len(TEXTS)),
    among=st.sampled_from([VOCAB, 1000, 700]),
    seed=st.integers(0, 99),
)
def test_the_greatest_are_those_of_all(kind: str, precision: str, counts: list[int], among: int, seed: int) -> None:
    packed = PackedModel.of(model_with(head(kind, seed)), precision)
    whole, some = logits(packed, None), logits(packed, Greatest(counts, among))
    for all_of_them, found, count in zip(whole[:, :among], some[:, :among], counts, strict=True):
        there = found > float("-inf")
        assert torch.equal(found[there], all_of_them[there])
        assert there[all_of_them >= all_of_them.topk(count).values[-1]].all()  # with those that tie
        assert found.argmax() == all_of_them.argmax()


@pytest.mark.parametrize("kind", ["plain", "outliers", "shifted", "ties"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_output_is_further_off_than_its_slack(kind: str, dtype: torch.dtype) -> None:
    exact = head(kind, 5).to(dtype).float()
    screen = Screen(exact)
    rows = torch.randn(50, WIDTH, dtype=torch.float64)
    rows[25:, :2] *= 40
    coarse = rows @ (screen.whole.double() * screen.scales.double()[:, None]).T
    true = rows @ (exact.double() - exact.mean(0).double()).T
    assert ((true - coarse).abs() <= rows.norm(dim=1)[:, None] * screen.slack.double()).all()


@needs_kernels
def test_most_of_the_head_is_not_read() -> None:
    packed = PackedModel.of(model_with(head("plain", 1)), "bf16")
    found = logits(packed, Greatest([1] * len(TEXTS), VOCAB))
    assert (found > float("-inf")).float().mean() < 0.1
    assert packed.bytes_read(greatest=True) < packed.bytes_read(greatest=False)


@needs_kernels
def test_a_head_that_cannot_be_told_apart_is_read_whole_for_a_while() -> None:
    packed = PackedModel.of(model_with(head("ties", 1)[:1] + 1e-4 * head("plain", 2)), "bf16")
    asked = Greatest([1] * len(TEXTS), VOCAB)
    for place in range(PAUSE + 2):
        found = logits(packed, asked)
        if 0 < place < PAUSE:
            assert torch.equal(found, logits(packed, None))
    assert found.argmax(1).equal(logits(packed, None).argmax(1))


@needs_kernels
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_found(bad: float) -> None:
    weight = head("plain", 1)
    weight[77, 3] = bad
    for counts in ([1] * len(TEXTS), [9] * len(TEXTS)):
        packed = PackedModel.of(model_with(weight), "fp32")
        found, whole = (logits(packed, asked)[:, 77] for asked in (Greatest(counts, VOCAB), None))
        assert not torch.isfinite(found).any()
        torch.testing.assert_close(found, whole, rtol=0, atol=0, equal_nan=True)  # -inf would be what is left out


@needs_kernels
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_engine_writes_the_same_with_and_without(precision: str) -> None:
    packed = PackedModel.of(model_with(head("plain", 3)), precision)

    def written(scored: bool) -> list[list[int]]:
        engine = Engine(PackedPasses(packed, [64]), vocabulary=VOCAB - 4)
        ways: Sequence[Sampling] = [
            Sampling(0.0),
            Sampling(1.0, top_k=5),
            Sampling(0.7, top_k=12, top_p=0.8),
            Sampling(0.0),
        ]
        requests = [
            Request(tuple(text), most=20, sampling=way, seed=place, scored=scored)
            for place, (text, way) in enumerate(zip(TEXTS, ways, strict=False))
        ]
        return [[told.token for told in each] for each in engine.run(requests)]

    assert written(False) == written(True)


def test_all_are_computed_where_every_one_has_a_say() -> None:
    assert Request((1,), scored=False).greatest == 1
    assert Request((1,), scored=False, sampling=Sampling(0.5, top_k=7)).greatest == 7
    for every in (
        Request((1,)),
        Request((1,), scored=False, likeliest=2),
        Request((1, 2), scored=False, targets=(3,)),
        Request((1,), scored=False, bias={3: 1.0}),
        Request((1,), scored=False, frequency=0.5),
        Request((1,), scored=False, constraint=lambda new: torch.ones(VOCAB, dtype=torch.bool)),
        Request((1,), scored=False, sampling=Sampling(0.5, top_p=0.9)),
        Request((1,), scored=False, sampling=Sampling(0.0, repetition_penalty=1.2)),
    ):
        assert every.greatest == 0
    screen = Screen(head("plain", 1))
    assert not screen.counts(Greatest([1, 0], VOCAB))
    assert not screen.counts(Greatest([VOCAB // LANES + 1], VOCAB))
    assert screen.counts(Greatest([VOCAB // LANES], VOCAB))
