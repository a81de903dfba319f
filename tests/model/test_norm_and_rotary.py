"""The hand-written gradients of RMSNorm and the rotation agree with their slow twins."""

import pytest
import torch
import torch.nn.functional as F

from ensue.model.norm import RMSNorm
from ensue.model.rotary import rotate, rotation_of


@pytest.mark.parametrize("shape", [(7, 12), (2, 3, 5, 12)])
def test_rms_norm_agrees_with_autograd_through_the_formula(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    norm = RMSNorm(12, 1e-6).double()
    with torch.no_grad():
        norm.weight.uniform_(-2, 2, generator=generator)
    outer = torch.randn(shape, dtype=torch.float64, generator=generator)
    ours = torch.autograd.grad(norm(x), (x, norm.weight), outer)
    twin = torch.autograd.grad(F.rms_norm(x, (12,), norm.weight, 1e-6), (x, norm.weight), outer)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (12,), norm.weight, 1e-6))
    torch.testing.assert_close(ours, twin, rtol=1e-12, atol=1e-12)


def test_rms_norm_in_bf16_squares_in_fp32_and_answers_in_bf16() -> None:
    x = torch.randn(64, 12, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    norm = RMSNorm(12, 1e-6).bfloat16()
    answer = norm(x)
    assert answer.dtype == torch.bfloat16
    torch.testing.assert_close(answer, F.rms_norm(x.float(), (12,), eps=1e-6).bfloat16())
    answer.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == norm.weight.grad.dtype == torch.bfloat16


def test_rotation_is_multiplication_by_a_unit_complex_number() -> None:
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64, requires_grad=True)
    positions = torch.tensor([[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]])
    turned = rotate(x, rotation_of(positions, 8, 10_000.0))
    frequency = 10_000.0 ** (-torch.arange(4, dtype=torch.float64) / 4)
    unit = torch.polar(torch.ones(1, dtype=torch.float64), positions[:, None, :, None].double() * frequency)
    expected = torch.view_as_real(torch.complex(x[..., :4], x[..., 4:]) * unit)
    torch.testing.assert_close(turned, torch.cat((expected[..., 0], expected[..., 1]), -1), rtol=1e-5, atol=1e-5)
    outer = torch.randn_like(turned)
    (ours,) = torch.autograd.grad(turned, x, outer, retain_graph=True)
    (twin,) = torch.autograd.grad(torch.cat((expected[..., 0], expected[..., 1]), -1), x, outer)
    torch.testing.assert_close(ours, twin, rtol=1e-5, atol=1e-5)
