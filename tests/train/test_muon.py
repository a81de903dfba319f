"""Muon orthogonalises, and in bf16 is torch.optim.Muon."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.train.muon import Muon, orthogonalise

SHAPES = [(8, 8), (12, 4), (4, 12), (8, 8), (1, 6), (6, 1)]


def matrices(shape, *, count=1, seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40)
@given(
    rows=st.integers(1, 24), columns=st.integers(1, 24), seed=st.integers(0, 999), size=st.sampled_from([1e-3, 1, 1e3])
)
def test_singular_values_are_brought_near_1_and_the_directions_kept(rows, columns, seed, size):
    """Of a matrix with a known decomposition, whose smallest singular value is a tenth of its largest."""
    rank = min(rows, columns)
    left, _, right = torch.linalg.svd(matrices((rows, columns), seed=seed)[0], full_matrices=False)
    values = size * torch.linspace(1.0, 0.1, rank)
    result = orthogonalise((left * values @ right)[None], dtype=torch.float32, steps=5)[0]
    seen = left.T @ result @ right.T
    assert bool(((seen.diagonal() > 0.5) & (seen.diagonal() < 1.3)).all())
    torch.testing.assert_close(seen, torch.diag(seen.diagonal()), rtol=0, atol=1e-3)


def test_a_zero_gradient_gives_no_direction():
    assert float(orthogonalise(torch.zeros(2, 3, 4), dtype=torch.float32, steps=5).abs().max()) == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 8), (12, 4), (4, 12)])
def test_a_batch_is_its_matrices_one_by_one(shape, dtype):
    batch = matrices(shape, count=3)
    together = orthogonalise(batch, dtype=dtype, steps=5)
    alone = torch.cat([orthogonalise(matrix[None], dtype=dtype, steps=5) for matrix in batch])
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(together, alone, rtol=0, atol=tolerance)
    assert together.dtype == dtype


def train(optimizer, parameters, steps):
    for step in range(steps):
        for index, parameter in enumerate(parameters):
            parameter.grad = matrices(parameter.shape, seed=100 * step + index)[0]
        optimizer.step()


@pytest.mark.parametrize("steps", [1, 5])
def test_in_bf16_it_is_torchs_muon(steps):
    """Theirs is one matrix at a time; ours batches equal shapes. A product may add up in another order."""
    start = [matrices(shape, seed=index)[0] for index, shape in enumerate(SHAPES)]
    ours = [torch.nn.Parameter(tensor.clone()) for tensor in start]
    theirs = [torch.nn.Parameter(tensor.clone()) for tensor in start]
    lr, decay = 0.02, 0.1
    train(Muon(ours, lr=lr, momentum=0.95, weight_decay=decay, dtype=torch.bfloat16), ours, steps)
    reference = torch.optim.Muon(theirs, lr=lr, momentum=0.95, weight_decay=decay, adjust_lr_fn="original")
    train(reference, theirs, steps)
    for one, other, before in zip(ours, theirs, start, strict=True):
        moved = (other.detach() - before).norm()
        assert float((one.detach() - other.detach()).norm() / moved) < 0.01
        assert float(moved) > 0


def test_fp32_and_bf16_agree_to_the_precision_of_bf16():
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        parameters = [torch.nn.Parameter(matrices(shape, seed=index)[0]) for index, shape in enumerate(SHAPES)]
        train(Muon(parameters, lr=0.02, momentum=0.95, weight_decay=0.0, dtype=dtype), parameters, 3)
        results.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    torch.testing.assert_close(*results, rtol=0, atol=0.01)


def test_the_rate_grows_with_the_root_of_rows_over_columns_and_decay_is_decoupled():
    """lr x sqrt(max(1, rows / columns)) x direction, after weights x (1 - lr x decay)."""
    for shape, factor in (((16, 4), 2.0), ((4, 16), 1.0)):
        parameter = torch.nn.Parameter(matrices(shape)[0].double())
        before, gradient = parameter.detach().clone(), matrices(shape, seed=1)[0].double()
        parameter.grad = gradient
        Muon([parameter], lr=0.1, momentum=0.9, weight_decay=0.5, dtype=torch.float64).step()
        direction = orthogonalise(gradient[None], dtype=torch.float64, steps=5)[0]
        torch.testing.assert_close(parameter.detach(), before * (1 - 0.1 * 0.5) - 0.1 * factor * direction)


def test_a_parameter_without_gradient_stays():
    moved, still = torch.nn.Parameter(torch.ones(3, 3)), torch.nn.Parameter(torch.ones(3, 3))
    moved.grad = matrices((3, 3))[0]
    Muon([moved, still], lr=0.1, momentum=0.9, weight_decay=0.5, dtype=torch.float32).step()
    assert torch.equal(still, torch.ones(3, 3))
    assert not torch.equal(moved, torch.ones(3, 3))
