"""Each kernel beside its twin: both are compared with fp64, and the kernel may be no further off than bf16 makes it."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from ensue.core import native
from ensue.loss.fused_cross_entropy import chunk_rows
from ensue.loss.linear_cross_entropy import linear_cross_entropy, plain_cross_entropy
from ensue.loss.next_token import NextToken
from ensue.model import presets
from ensue.model.fused import GeluSource, GivenSource, NormSource, SwiGLUSource, fused_product, fused_source
from ensue.model.fused_attention import HeadNorms, fused_attention
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, TwoWay
from ensue.model.rotary import rotate, rotation_of
from ensue.tokens.batch import Batch

KERNELS = native.kernels()
pytestmark = pytest.mark.skipif(KERNELS is None, reason="no kernels for this processor, or no compiler")
ROUNDING = 2.0**-8


def values(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def leaves(*tensors, dtype):
    return [tensor.detach().to(dtype).requires_grad_() for tensor in tensors]


def assert_near(found, exact, what, tolerance=2 * ROUNDING):
    error = (found.double() - exact.double()).norm() / exact.double().norm().clamp(min=1e-9)
    assert error < tolerance, f"{what} is off by {error:.4f}"


@given(rows=st.integers(1, 9), width=st.integers(4, 90), centred=st.booleans(), seed=st.integers(0, 99))
def test_norms(rows, width, centred, seed):
    x = values(rows, width, seed=seed).float() * 3 + 1
    gain, bias, outer = values(width, seed=1).float(), values(width, seed=2).float(), values(rows, width, seed=3)
    exact = leaves(x, gain, bias, dtype=torch.float64)
    if centred:
        wanted = F.layer_norm(exact[0], (width,), exact[1], exact[2], 1e-2)
    else:
        wanted = F.rms_norm(exact[0], (width,), exact[1], 1e-2)
    wanted.backward(outer.double())
    ours = leaves(x, gain, bias, dtype=torch.float32)
    found = fused_source(KERNELS, NormSource(centred, 1e-2), ours[0], ours[1], ours[2] if centred else None)
    assert found.dtype == torch.bfloat16
    found.backward(outer)
    assert_near(found, wanted, "output")
    for name, a, b in zip(("x", "gain", "bias"), ours, exact, strict=True):
        if b.grad is not None:
            assert_near(a.grad, b.grad, name, 1e-3)


@given(count=st.integers(1, 10_000), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_gelu(count, scale):
    x, outer = values(count) * scale, values(count, seed=1)
    (exact,) = leaves(x, dtype=torch.float64)
    wanted = F.gelu(exact, approximate="tanh")
    wanted.backward(outer.double())
    (ours,) = leaves(x, dtype=torch.bfloat16)
    found = fused_source(KERNELS, GeluSource(), ours)
    found.backward(outer)
    assert_near(found, wanted, "output")
    assert_near(ours.grad, exact.grad, "x")
    assert not found.isnan().any()


@given(rows=st.integers(1, 5), width=st.integers(1, 70), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_swiglu(rows, width, scale):
    x, outer = values(rows, 2 * width) * scale, values(rows, width, seed=1)
    (exact,) = leaves(x, dtype=torch.float64)
    gate, up = exact.chunk(2, -1)
    wanted = F.silu(gate) * up
    wanted.backward(outer.double())
    (ours,) = leaves(x, dtype=torch.bfloat16)
    found = fused_source(KERNELS, SwiGLUSource(), ours)
    found.backward(outer)
    assert_near(found, wanted, "output")
    assert_near(ours.grad, exact.grad, "x")


@given(
    rows=st.integers(1, 40),
    width=st.integers(1, 40).map(lambda half: 2 * half),
    columns=st.integers(1, 70),
    source=st.sampled_from([GivenSource(), GeluSource(), SwiGLUSource(), NormSource(True, 1e-5)]),
    biased=st.booleans(),
)
def test_products(rows, width, columns, source, biased):
    made_width = width // 2 if isinstance(source, SwiGLUSource) else width
    inputs = [values(rows, width)]
    if isinstance(source, NormSource):
        inputs = [inputs[0].float(), values(width, seed=4).float(), values(width, seed=5).float()]
    weight, bias, outer = values(columns, made_width, seed=1), values(columns, seed=2), values(rows, columns, seed=3)
    makers = {
        GivenSource: lambda x: x,
        GeluSource: lambda x: F.gelu(x, approximate="tanh"),
        SwiGLUSource: lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
        NormSource: lambda x, gain, shift: F.layer_norm(x, (width,), gain, shift),
    }
    exact = leaves(*inputs, weight, bias, dtype=torch.float64)
    made = makers[type(source)](*exact[:-2])
    wanted = F.linear(made, exact[-2], exact[-1] if biased else None)
    wanted.backward(outer.double())
    ours = [leaf for each in inputs for leaf in leaves(each, dtype=each.dtype)]
    ours += leaves(weight, bias, dtype=torch.float32)
    found = fused_product(KERNELS, source, ours[-2], ours[-1] if biased else None, *ours[:-2])
    assert found.dtype == torch.bfloat16
    found.backward(outer)
    terms = F.linear(made.abs(), exact[-2].abs(), exact[-1].abs() if biased else None)  # they may cancel
    assert (found.double() - wanted).abs().max() <= 2 * ROUNDING * terms.max()
    largest = max(b.grad.norm() for b in exact if b.grad is not None)
    for a, b in zip(ours, exact, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if b.grad is not None:
            assert a.grad.dtype == a.dtype
            assert (a.grad.double() - b.grad).norm() <= 4 * ROUNDING * largest


PATTERNS = st.one_of(st.just(Dense()), st.just(TwoWay()), st.integers(1, 200).map(Banded))


@given(
    rows=st.integers(1, 3),
    tokens=st.integers(1, 200),
    heads=st.integers(1, 3),
    width=st.sampled_from([32, 64, 96, 192]),
    pattern=PATTERNS,
    parts=st.integers(0, 3),
    prepared=st.booleans(),
)
def test_attention(rows, tokens, heads, width, pattern, parts, prepared):
    qkv, outer = values(rows, tokens, 3 * heads * width), values(rows, tokens, heads * width, seed=1)
    gains = values(2, width, seed=2).float() + 1
    segments = None
    if parts:
        cuts = torch.randint(0, 2, (rows, tokens), generator=torch.Generator().manual_seed(parts)).int()
        segments = 100 - cuts.cumsum(1).int()  # numbers that fall
    rotation = rotation_of(torch.arange(tokens)[None], width, 10_000.0) if prepared else None

    def masked(qkv, gains):
        query, key, value = qkv.view(rows, tokens, 3, heads, width).transpose(1, 3).unbind(2)
        if prepared:
            query, key = (
                rotate(F.rms_norm(each, (width,), gain, 1e-6), tuple(table.double() for table in rotation))
                for each, gain in zip((query, key), gains.unbind(), strict=True)
            )
        place = torch.arange(tokens)
        mask = pattern.visible(place[:, None], place, 0).expand(rows, 1, tokens, tokens)
        if segments is not None:
            mask = mask & (segments[:, None, :, None] == segments[:, None, None, :])
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)

    exact = leaves(qkv, gains, dtype=torch.float64)
    wanted = masked(*exact)
    wanted.backward(outer.double())
    (ours,), (query_gain, key_gain) = leaves(qkv, dtype=torch.bfloat16), leaves(*gains, dtype=torch.float32)
    found = fused_attention(
        KERNELS,
        ours,
        heads=heads,
        pattern=pattern,
        scale=width**-0.5,
        segments=segments,
        norms=HeadNorms(query_gain, key_gain, 1e-6) if prepared else None,
        rotation=rotation,
    )
    found.backward(outer)
    assert_near(found, wanted, "output")
    # A softmax that is all but certain leaves queries and keys a gradient that is a difference of rounded numbers:
    # what counts is the error beside the whole gradient.
    assert_near(ours.grad, exact[0].grad, "gradient", 2 * ROUNDING)
    if prepared:
        error = torch.stack((query_gain.grad, key_gain.grad)).double() - exact[1].grad
        assert error.norm() < 4 * ROUNDING * exact[0].grad.norm()


@given(rows=st.integers(1, 1300), columns=st.integers(1, 300), weighted=st.booleans())
def test_cross_entropy(rows, columns, weighted):
    hidden, weight = values(rows, 32), values(columns, 32, seed=1).float() * 0.3
    targets = torch.randint(columns, (rows,), generator=torch.Generator().manual_seed(2))
    weights = torch.arange(rows) % 3 / 2 if weighted else torch.ones(rows)
    exact = leaves(hidden, weight, dtype=torch.float64)
    wanted = plain_cross_entropy(*exact, targets, weights.double())
    wanted.backward()
    ours = [*leaves(hidden, dtype=torch.bfloat16), *leaves(weight, dtype=torch.float32)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = linear_cross_entropy(*ours, targets, weights)
    (found * 1.0).backward()
    scale = float(weights.sum().clamp(min=1))
    assert abs(found.item() - wanted.item()) / scale < 0.03
    if columns > 1 and weights.any():
        for name, a, b in zip(("hidden", "weight"), ours, exact, strict=True):
            assert_near(a.grad, b.grad, name, 4 * ROUNDING)


@pytest.mark.parametrize(("rows", "columns"), [(40, 300), (33, 64), (7, 1)])
def test_cross_entropy_in_slices_of_the_matrix_and_chunks_of_rows(monkeypatch, rows, columns):
    monkeypatch.setattr("ensue.loss.fused_cross_entropy.SLICE", 64)
    monkeypatch.setattr("ensue.loss.fused_cross_entropy.ROOM_BYTES", 1)
    monkeypatch.setattr("ensue.loss.fused_cross_entropy.FEWEST_ROWS", 16)
    hidden, weight = values(rows, 32), values(columns, 32, seed=1).float() * 0.3
    targets = torch.randint(columns, (rows,), generator=torch.Generator().manual_seed(2))
    exact = leaves(hidden, weight, dtype=torch.float64)
    wanted = plain_cross_entropy(*exact, targets, torch.ones(rows).double())
    wanted.backward()
    ours = [*leaves(hidden, dtype=torch.bfloat16), *leaves(weight, dtype=torch.float32)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = linear_cross_entropy(*ours, targets, torch.ones(rows))
    found.backward()
    assert abs(found.item() - wanted.item()) / rows < 0.03
    if columns > 1:
        for name, a, b in zip(("hidden", "weight"), ours, exact, strict=True):
            assert_near(a.grad, b.grad, name, 4 * ROUNDING)


@pytest.mark.parametrize("count", [1, 500, 512, 513, 2048, 5000])
@pytest.mark.parametrize("columns", [1, 4096, 50257])
def test_chunks_are_as_few_as_the_room_allows_and_alike(count, columns):
    rows = chunk_rows(count, columns)
    chunks = -(-count // rows)
    most = max(512, (52 << 20) // (2 * columns))
    assert rows <= most
    assert chunks == -(-count // most)
    assert count - (chunks - 1) * rows > rows - chunks, "the last is not thin"


@pytest.mark.parametrize("name", ["gpt", "gpt2", "gpt3", "modern"])
@pytest.mark.parametrize("separate", [False, True])
def test_a_whole_model_beside_its_twin_without_kernels(name, separate, monkeypatch):
    architecture = {"gpt": presets.gpt, "gpt2": presets.gpt2, "gpt3": presets.gpt3, "modern": presets.modern}[name]
    model = GPT.build(architecture(layers=2, width=64, heads=2, context=96, vocab=130), 0).eval()
    tokens = torch.randint(130, (3, 97), generator=torch.Generator().manual_seed(0))
    segments = (torch.arange(96) // 40).int().expand(3, 96) if separate else None
    batch = Batch(tokens[:, :-1], tokens[:, 1:], torch.ones(3, 96), segments)

    def gradients(bf16):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = NextToken().loss(model, batch).total
        loss.backward()
        return loss.item(), torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    fp32_loss, fp32 = gradients(bf16=False)
    fused_loss, fused = gradients(bf16=True)
    monkeypatch.setattr("ensue.core.native.kernels", lambda: None)
    twin_loss, twin = gradients(bf16=True)
    assert fused_loss != twin_loss  # or the kernels never ran
    assert fused_loss == pytest.approx(fp32_loss, rel=2e-3)
    assert (fused - fp32).norm() < 1.25 * (twin - fp32).norm()
