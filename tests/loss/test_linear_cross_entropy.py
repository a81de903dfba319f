"""The chunked loss equals the plain one and torch's own, in value and both gradients, and needs far less memory."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.loss import linear_cross_entropy as module
from ensue.loss.linear_cross_entropy import linear_cross_entropy, plain_cross_entropy

DOUBLE = {"rtol": 1e-12, "atol": 1e-12}
SINGLE = {"rtol": 1e-5, "atol": 1e-5}


def sample(rows, width, vocab, *, dtype=torch.float64, seed=0, weighting="mixed"):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.randn(vocab, width, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    targets = torch.randint(vocab, (rows,), generator=generator)
    fractions = torch.rand(rows, generator=generator)
    kept = (torch.rand(rows, generator=generator) < 0.6).float()
    weights = {"ones": torch.ones(rows), "zeros": torch.zeros(rows), "fractions": fractions, "mixed": fractions * kept}
    return hidden, weight, targets, weights[weighting]


def value_and_gradients(function, hidden, weight, targets, weights, scale=1.0):
    hidden, weight = hidden.detach().requires_grad_(), weight.detach().requires_grad_()
    total = function(hidden, weight, targets, weights)
    (scale * total).backward()
    return total.detach(), hidden.grad, weight.grad


def torchs_own(hidden, weight, targets, weights):
    """Written with nothing of ours: torch's mean over one row at a time, weighted and added up."""
    rows = zip(F.linear(hidden, weight), targets, weights, strict=True)
    return sum((w * F.cross_entropy(row[None], target[None]) for row, target, w in rows), torch.zeros(()))


def assert_all_close(ours, theirs, tolerance):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other.to(one.dtype), **tolerance)


@pytest.fixture
def chunk_rows(monkeypatch):
    """Set how many rows of logits are held at a time."""

    def of(rows, vocab, dtype):
        monkeypatch.setattr(module, "CHUNK_BYTES", rows * vocab * dtype.itemsize)
        monkeypatch.setattr(module, "FEWEST_ROWS", 1)

    return of


@pytest.mark.parametrize("weighting", ["ones", "fractions", "mixed", "zeros"])
@pytest.mark.parametrize("rows", [1, 3, 16, 17, 1000])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, DOUBLE), (torch.float32, SINGLE)])
def test_equals_plain_and_torchs_own_for_every_chunk_size(chunk_rows, dtype, tolerance, rows, weighting):
    values = sample(17, 5, 23, dtype=dtype, weighting=weighting)
    chunk_rows(rows, 23, dtype)
    ours = value_and_gradients(linear_cross_entropy, *values)
    assert ours[0].dtype == dtype
    assert_all_close(ours, value_and_gradients(plain_cross_entropy, *values), tolerance)
    if weighting != "zeros":
        assert_all_close(ours, value_and_gradients(torchs_own, *values), tolerance)
    else:
        assert [float(part.abs().sum()) for part in ours] == [0.0, 0.0, 0.0]


@settings(max_examples=40)
@given(
    rows=st.integers(1, 40),
    width=st.integers(1, 9),
    vocab=st.integers(1, 50),
    chunk=st.integers(1, 45),
    seed=st.integers(0, 999),
    scale=st.floats(-8, 8),
)
def test_any_shape_any_chunk_any_outer_factor(rows, width, vocab, chunk, seed, scale):
    values = sample(rows, width, vocab, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_BYTES", chunk * vocab * 8)
        patch.setattr(module, "FEWEST_ROWS", 1)
        ours = value_and_gradients(linear_cross_entropy, *values, scale=scale)
    assert_all_close(ours, value_and_gradients(plain_cross_entropy, *values, scale=scale), DOUBLE)


def test_gradients_are_those_of_finite_differences(chunk_rows):
    """Each of all entries, by central differences of the function's own value (no autograd on that side)."""
    hidden, weight, targets, weights = sample(6, 3, 7)
    chunk_rows(2, 7, torch.float64)
    _, *analytic = value_and_gradients(linear_cross_entropy, hidden, weight, targets, weights)
    step = 1e-6
    for tensor, gradient in zip((hidden, weight), analytic, strict=True):
        flat = tensor.detach().view(-1)
        for place in range(flat.numel()):
            start = float(flat[place])
            readings = []
            for moved in (start + step, start - step):
                flat[place] = moved
                readings.append(float(linear_cross_entropy(hidden, weight, targets, weights).detach()))
            flat[place] = start
            slope = (readings[0] - readings[1]) / (2 * step)
            assert slope == pytest.approx(float(gradient.view(-1)[place]), rel=1e-6, abs=1e-7)


def test_uniform_logits_cost_log_vocabulary():
    hidden, weight = torch.zeros(4, 3), torch.randn(10, 3)
    total = linear_cross_entropy(hidden, weight, torch.tensor([0, 3, 9, 9]), torch.tensor([1.0, 1.0, 0.5, 0.0]))
    assert float(total) == pytest.approx(2.5 * math.log(10), rel=1e-6)


def test_huge_logits_stay_finite():
    hidden, weight = torch.tensor([[1000.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]], requires_grad=True)
    total, *gradients = value_and_gradients(linear_cross_entropy, hidden, weight, torch.tensor([1]), torch.ones(1))
    assert float(total) == 2000.0
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("rows", [4, 1000])
def test_under_bf16_autocast_it_stays_as_near_the_truth_as_the_plain_way(chunk_rows, rows):
    values = sample(24, 16, 40, dtype=torch.float32)
    chunk_rows(rows, 40, torch.float32)
    exact = value_and_gradients(plain_cross_entropy, *(value.double() for value in values[:2]), *values[2:])
    with torch.autocast("cpu", torch.bfloat16):
        ours = value_and_gradients(linear_cross_entropy, *values)
        plain = value_and_gradients(plain_cross_entropy, *values)
    for our, their, true in zip(ours, plain, exact, strict=True):
        assert our.dtype == torch.float32
        our_error, their_error = (float((part - true).norm() / true.norm()) for part in (our, their))
        assert our_error < 1.5 * their_error + 1e-3, "softmax and sums are in fp32; only the products are rounded"
        assert our_error < 0.02
    assert float(ours[0]) != float(exact[0]), "the products were in bf16"


def test_only_the_gradient_that_is_wanted_is_made():
    hidden, weight, targets, weights = sample(5, 3, 7)
    linear_cross_entropy(hidden.detach(), weight, targets, weights).backward()
    assert hidden.grad is None
    expected = value_and_gradients(plain_cross_entropy, hidden, weight, targets, weights)
    torch.testing.assert_close(weight.grad, expected[2], **DOUBLE)
    linear_cross_entropy(hidden, weight.detach(), targets, weights).backward()
    torch.testing.assert_close(hidden.grad, expected[1], **DOUBLE)


def test_a_second_backward_is_an_error_and_not_a_wrong_number():
    hidden, weight, targets, weights = sample(5, 3, 7)
    total = linear_cross_entropy(hidden, weight, targets, weights)
    (3 * total).backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def profiled(run):
    """What torch's own profiler saw of `run()`: (name, bytes allocated or, below 0, freed), in order."""
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    events = sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    return [(event.name(), event.nbytes()) for event in events]


def test_no_gradient_work_is_done_where_none_is_wanted():
    """Held-out loss would cost three products instead of one."""
    values = sample(5, 3, 7)
    products = []
    for context in (torch.enable_grad(), torch.no_grad(), torch.inference_mode()):
        with context:
            seen = profiled(lambda: linear_cross_entropy(*values))
        products.append(sum(name in ("aten::mm", "aten::addmm", "aten::addmm_") for name, _ in seen))
    assert products == [3, 1, 1]


def peak_bytes(function, values):
    """The most that was allocated at once during value and gradients."""
    held = peak = 0
    for name, size in profiled(lambda: value_and_gradients(function, *values)):
        held += size if name == "[memory]" else 0
        peak = max(peak, held)
    return peak


def test_memory_stays_far_below_tokens_times_vocabulary(monkeypatch):
    rows, width, vocab = 1024, 8, 4096
    values = sample(rows, width, vocab, dtype=torch.float32, weighting="ones")
    all_logits = rows * vocab * 4
    monkeypatch.setattr(module, "CHUNK_BYTES", all_logits // 32)
    monkeypatch.setattr(module, "FEWEST_ROWS", 1)
    assert peak_bytes(plain_cross_entropy, values) > 2 * all_logits, "or the measurement measures nothing"
    assert peak_bytes(linear_cross_entropy, values) < all_logits / 5
