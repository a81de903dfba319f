"""The packed pass beside `GPT.forward`, its slow twin, in any company and in any pieces."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ensue.core.native import INFERENCE, why_no_kernels
from ensue.generate.packed import PackedModel, why_not_packed
from ensue.generate.packing import Precision, pack, quantise, quantise_int4
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed, Strided

SHAPE = {"vocab": 131, "context": 96, "layers": 2, "width": 128, "heads": 4}
CONFIGS = {
    "gpt2": GPTConfig(**SHAPE),
    "gpt": GPTConfig(**SHAPE, norm_place="post", residual_init="same"),
    "gpt3": GPTConfig(**SHAPE, patterns=(Dense(), Banded(9))),
    "sparse": GPTConfig(**SHAPE, patterns=(Strided(9, "first"), Fixed(21, 2, "first"))),
    "modern": GPTConfig(
        **{**SHAPE, "vocab": 200},
        norm="rms",
        positions="rotary",
        mlp="swiglu",
        mlp_width=192,
        qk_norm=True,
        bias=False,
        qkv_bias=False,
        tied=False,
    ),
    "odd": GPTConfig(**SHAPE, mlp="swiglu", mlp_width=100, bias=True),
    "narrow": GPTConfig(**SHAPE, mlp_width=40),
}
PAGES = 6  # of a request: 96 tokens

pytestmark = pytest.mark.skipif(
    why_no_kernels(INFERENCE) is not None, reason=f"no packed kernels here: {why_no_kernels(INFERENCE)}"
)


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest) -> GPT:
    model = GPT.build(CONFIGS[request.param], 3).eval()
    torch.manual_seed(1)
    for parameter in model.parameters():  # gains, biases and weights that all matter
        scale = 3.0 if parameter.dim() > 1 else 1.0
        parameter.data.mul_(scale).add_(torch.randn_like(parameter) * 0.05)
    return model


@pytest.fixture(scope="module", params=["fp32", "bf16", "int8", "int4"])
def packed(request: pytest.FixtureRequest, model: GPT) -> PackedModel:
    return PackedModel.of(model, request.param)


class Requests:
    """Some texts that go through a packed model in whatever pieces; the logits after each of their tokens."""

    def __init__(self, packed: PackedModel, texts: list[list[int]]) -> None:
        self.packed, self.texts = packed, texts
        pages = torch.randperm(PAGES * len(texts), generator=torch.Generator().manual_seed(len(texts)))
        table = pages.int().view(len(texts), PAGES).contiguous()
        self.tables = [table for _ in packed.groups]
        self.caches = packed.new_caches([PAGES * len(texts) for _ in packed.groups])
        for cache in self.caches:
            cache.fill_(float("nan"))  # what is not written yet must never be seen
        self.done = [0] * len(texts)
        self.logits: list[list[torch.Tensor]] = [[] for _ in texts]

    def feed(self, counts: list[int]) -> None:
        """The next so many tokens of each text, in one pass."""
        spans = [
            range(done, min(done + count, len(text)))
            for done, count, text in zip(self.done, counts, self.texts, strict=True)
        ]
        tokens = [(self.texts[row][place], place, row) for row, span in enumerate(spans) for place in span]
        if not tokens:
            return
        ids, places, rows = zip(*tokens, strict=True)
        _, logits = self.packed.run(
            ids, places, rows, tables=self.tables, caches=self.caches, wanted=range(len(tokens))
        )
        for row, scores in zip(rows, logits, strict=True):
            self.logits[row].append(scores)
        self.done = [span.stop for span in spans]


def texts_for(config: GPTConfig, lengths: list[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(sum(lengths))
    return [torch.randint(0, config.vocab, (length,), generator=generator).tolist() for length in lengths]


def test_a_pass_equals_the_models_own_forward(model: GPT, packed: PackedModel) -> None:
    texts = texts_for(model.config, [96, 1, 50])
    requests = Requests(packed, texts)
    requests.feed([96, 96, 96])
    twin = rounded(model, packed.precision) if packed.precision.startswith("int") else model
    for text, scores in zip(texts, requests.logits, strict=True):
        with torch.no_grad():
            expected = twin(torch.tensor([text]))[0]
        away = (torch.stack(scores) - expected).abs()
        assert float(away.max()) < {"fp32": 2e-5, "bf16": 0.06, "int8": 0.2, "int4": 0.2}[packed.precision]
        assert (
            float(away.square().mean().sqrt())
            < {"fp32": 5e-6, "bf16": 0.01, "int8": 0.03, "int4": 0.03}[packed.precision]
        )


def test_int8_products_are_what_their_twin_computes(model: GPT) -> None:
    packed = PackedModel.of(model, "int8")
    text = texts_for(model.config, [40])[0]
    tables = [torch.arange(PAGES, dtype=torch.int32)[None] for _ in packed.groups]
    caches = packed.new_caches([PAGES for _ in packed.groups])
    states, logits = packed.run(text, range(40), [0] * 40, tables=tables, caches=caches, wanted=range(40))
    assert torch.allclose(logits, grouped(states) @ as_read(model.head_weight.detach(), "int8").T, atol=1e-4)


def rounded(model: GPT, precision: Precision) -> GPT:
    """A copy whose products are those of whole numbers: weights of this precision, inputs with a scale for every 64."""
    twin = copy.deepcopy(model)
    if twin.head is None:
        twin.head = nn.Linear(twin.config.width, twin.config.vocab, bias=False)
        twin.head.weight = nn.Parameter(twin.token_embedding.weight.detach().clone())
    for module in twin.modules():
        if isinstance(module, nn.Linear):
            module.weight.data = as_read(module.weight.detach(), "int8" if module is twin.head else precision)
            module.register_forward_pre_hook(lambda _, given: (grouped(given[0]),))
    twin.logits = lambda hidden, *, taps=None: twin.head(hidden)  # whose hook the model's own would pass by
    return twin


def as_read(weight: torch.Tensor, precision: Precision) -> torch.Tensor:
    """The weights that a product of whole numbers stands for."""
    if precision == "int8":
        whole, scales = quantise(weight)
        return whole.float() * scales[:, None]
    padded = F.pad(weight, (0, -weight.shape[1] % 64))
    whole, scales = quantise_int4(padded)
    return (whole.float() * scales.float().repeat_interleave(64, 1))[:, : weight.shape[1]]


def grouped(x: torch.Tensor) -> torch.Tensor:
    groups = F.pad(x, (0, -x.shape[-1] % 64)).unflatten(-1, (-1, 64))
    scales = groups.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 127
    return ((groups / scales).round() * scales).flatten(-2)[..., : x.shape[-1]]


@settings(max_examples=12)
@given(data=st.data())
def test_company_and_pieces_change_no_bit(packed: PackedModel, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 40), min_size=2, max_size=7))
    texts = texts_for(packed.config, lengths)
    together = Requests(packed, texts)
    while any(done < length for done, length in zip(together.done, lengths, strict=True)):
        counts = st.lists(st.integers(0, 17), min_size=len(texts), max_size=len(texts)).filter(any)
        together.feed(data.draw(counts))
    alone = data.draw(st.integers(0, len(texts) - 1))
    single = Requests(packed, [texts[alone]])
    for _ in range(lengths[alone]):
        single.feed([1])
    assert torch.equal(torch.stack(together.logits[alone]), torch.stack(single.logits[0]))


def test_threads_change_no_bit(packed: PackedModel) -> None:
    texts = texts_for(packed.config, [33, 20])
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            requests = Requests(packed, texts)
            requests.feed([33, 20])
            found.append(torch.stack([*requests.logits[0], *requests.logits[1]]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_packing_loses_nothing_but_precision(precision: Precision) -> None:
    weight = torch.randn(70, 64)
    values, scales = pack(weight, precision)
    back = values.float() if scales is None else values.float() - 128
    back = back.reshape(2, -1, 64, {"fp32": 1, "bf16": 2, "int8": 4}[precision]).transpose(1, 2).reshape(128, 64)
    if scales is not None:
        back = back * scales[:, None]
        assert float((back[:70] - weight).abs().max()) <= float(scales.max()) / 2 + 1e-6
    expected = {"fp32": weight, "bf16": weight.bfloat16().float(), "int8": as_read(weight, "int8")}[precision]
    assert torch.equal(back, F.pad(expected, (0, 0, 0, 58)))


def test_int4_is_packed_as_it_is_read() -> None:
    weight = torch.randn(70, 128)
    packed, _ = pack(weight, "int4")
    assert packed.shape == (2, 2, 2176)
    for output, place in ((0, 0), (69, 127), (65, 31), (3, 32), (20, 97)):
        block, group, inside = output // 64, place // 64, place % 64
        of_group = packed[block, group]
        scale = of_group[:128].view(torch.bfloat16)[output % 64].float()
        byte = int(of_group[128:].view(8, 64, 4)[inside % 32 // 4, output % 64, inside % 4])
        value = (byte >> 4 if inside >= 32 else byte & 15) - 8
        assert float(value * scale) == float(as_read(weight, "int4")[output, place])


def test_int4_takes_the_scale_that_loses_least() -> None:
    weight = torch.randn(40, 128)
    weight[3] = 0
    weight[4, :64] = 0
    lost = (as_read(weight, "int4") - weight).square().view(40, 2, 64).sum(-1)
    groups = weight.view(40, 2, 64)
    for reach in (0.7, 0.8, 0.9, 1.0):
        scales = (reach * groups.abs().amax(-1, keepdim=True) / 7.5).clamp(min=1e-9)
        other = ((groups / scales).round().clamp(-8, 7) * scales - groups).square().sum(-1)
        assert float((lost - other).mean()) <= 0
    assert float(lost[3].sum() + lost[4, 0]) == 0


def test_a_model_that_cannot_be_packed_says_why() -> None:
    assert "Strided" in str(why_not_packed(GPTConfig(**SHAPE, patterns=(Strided(8),))))
    assert "its width of 96" in str(why_not_packed(GPTConfig(**{**SHAPE, "width": 96})))
    with pytest.raises(ValueError, match="cannot be packed"):
        PackedModel.of(GPT.build(GPTConfig(**SHAPE, patterns=(Strided(8),)), 0), "fp32")
