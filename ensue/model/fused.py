"""Matrix products in bf16 together with what makes their input, on CPUs that `ensue.core.native` has kernels for.

A layer's products read a norm of the residual stream, or an activation. Those are quick to make again, so the backward
pass does, and what is kept in between is only what they are made from: about half of what autograd would hold. The
residual stream, the statistics of norms, parameters and their gradients are fp32; products run in bf16 like autocast's.

The twins are `norm.LayerNorm`, `norm.RMSNorm`, `activation.gelu`, `activation.swiglu`, each followed by its nn.Linear.
Legend: N rows, W width, M hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from ensue.core.native import Kernels

Gradients = tuple[Tensor | None, ...]


class Source(Protocol):
    """What makes a product's input: one kernel forward, one backward. `kept` is what the second wants of the first."""

    reads: ClassVar[torch.dtype]
    """Of its first input."""

    def make(self, kernels: Kernels, *inputs: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The bf16 input of the product, and `kept`."""

    def differentiate(
        self, kernels: Kernels, outer: Tensor, kept: tuple[Tensor, ...], *inputs: Tensor | None
    ) -> Gradients:
        """Gradients of the inputs, from that of what was made."""


@dataclass(frozen=True)
class NormSource:
    """Inputs x (..., W) fp32, gain (W,), bias (W,) or None: LayerNorm where `centred`, else RMSNorm."""

    reads: ClassVar[torch.dtype] = torch.float32

    centred: bool
    epsilon: float

    def make(self, kernels: Kernels, *inputs: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        x, gain, bias = inputs
        assert x is not None
        width = x.shape[-1]
        rows = x.numel() // width
        out = torch.empty(x.shape, dtype=torch.bfloat16)
        mean, inverse = torch.empty(2, rows).unbind()
        kernels.call("norm_forward", x, gain, bias, self.centred, self.epsilon, rows, width, out, mean, inverse)
        return out, (mean, inverse)

    def differentiate(
        self, kernels: Kernels, outer: Tensor, kept: tuple[Tensor, ...], *inputs: Tensor | None
    ) -> Gradients:
        x, gain, bias = inputs
        assert x is not None
        assert gain is not None
        width = x.shape[-1]
        dx, gain_gradient = torch.empty_like(x), torch.zeros_like(gain)
        bias_gradient = None if bias is None else torch.zeros_like(bias)
        shape = (self.centred, x.numel() // width, width)
        kernels.call("norm_backward", outer, x, gain, *kept, *shape, dx, gain_gradient, bias_gradient)
        return dx, gain_gradient, bias_gradient


@dataclass(frozen=True)
class GeluSource:
    """Input x (..., M) bf16: GELU in its tanh form."""

    reads: ClassVar[torch.dtype] = torch.bfloat16

    def make(self, kernels: Kernels, *inputs: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        (x,) = inputs
        assert x is not None
        out = torch.empty_like(x)
        kernels.call("gelu_forward", x, out, x.numel())
        return out, ()

    def differentiate(
        self, kernels: Kernels, outer: Tensor, kept: tuple[Tensor, ...], *inputs: Tensor | None
    ) -> Gradients:
        (x,) = inputs
        assert x is not None
        dx = torch.empty_like(x)
        kernels.call("gelu_backward", outer, x, dx, x.numel())
        return (dx,)


@dataclass(frozen=True)
class SwiGLUSource:
    """Input (..., 2M) bf16: silu(first half) x second half."""

    reads: ClassVar[torch.dtype] = torch.bfloat16

    def make(self, kernels: Kernels, *inputs: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        (gate_up,) = inputs
        assert gate_up is not None
        *outside, both = gate_up.shape
        out = gate_up.new_empty(*outside, both // 2)
        kernels.call("swiglu_forward", gate_up, out, gate_up.numel() // both, both // 2)
        return out, ()

    def differentiate(
        self, kernels: Kernels, outer: Tensor, kept: tuple[Tensor, ...], *inputs: Tensor | None
    ) -> Gradients:
        (gate_up,) = inputs
        assert gate_up is not None
        both = gate_up.shape[-1]
        gradient = torch.empty_like(gate_up)
        kernels.call("swiglu_backward", outer, gate_up, gradient, gate_up.numel() // both, both // 2)
        return (gradient,)


@dataclass(frozen=True)
class GivenSource:
    """Input x (..., W) bf16, as it is."""

    reads: ClassVar[torch.dtype] = torch.bfloat16

    def make(self, kernels: Kernels, *inputs: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        (x,) = inputs
        assert x is not None
        return x, ()

    def differentiate(
        self, kernels: Kernels, outer: Tensor, kept: tuple[Tensor, ...], *inputs: Tensor | None
    ) -> Gradients:
        return (outer,)


def fused_product(
    kernels: Kernels, source: Source, weight: Tensor, bias: Tensor | None, *inputs: Tensor | None
) -> Tensor:
    """What `source` makes of `inputs`, times weight (O, W) transposed, plus bias (O,): (..., O) bf16."""
    given = [None if each is None else each.contiguous() for each in inputs]
    product: Tensor = _Product.apply(kernels, source, weight, bias, *given)  # type: ignore[no-untyped-call]
    return product


def fused_source(kernels: Kernels, source: Source, *inputs: Tensor | None) -> Tensor:
    """What `source` makes of `inputs`, where no product follows at once."""
    given = [None if each is None else each.contiguous() for each in inputs]
    made: Tensor = _Made.apply(kernels, source, *given)  # type: ignore[no-untyped-call]
    return made


class _Made(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: Kernels, source: Source, *inputs: Tensor | None) -> Tensor:
        made, kept = source.make(kernels, *inputs)
        ctx.save_for_backward(*kept, *inputs)
        ctx.kernels, ctx.source, ctx.kept = kernels, source, len(kept)
        return made

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Gradients:
        kept, inputs = ctx.saved_tensors[: ctx.kept], ctx.saved_tensors[ctx.kept :]
        return None, None, *ctx.source.differentiate(ctx.kernels, outer[0].contiguous(), kept, *inputs)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, source: Source, weight: Tensor, bias: Tensor | None, *inputs: Tensor | None
    ) -> Tensor:
        made, _ = source.make(kernels, *inputs)
        with torch.autocast("cpu", enabled=False):
            rows, matrix = made.flatten(0, -2), weight.to(torch.bfloat16)
            if bias is None:
                product = torch.mm(rows, matrix.t())
            else:
                product = torch.addmm(bias.to(torch.bfloat16), rows, matrix.t())
        ctx.save_for_backward(weight, bias, *inputs)
        ctx.kernels, ctx.source = kernels, source
        return product.view(*made.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Gradients:
        weight, bias, *inputs = ctx.saved_tensors
        made, kept = ctx.source.make(ctx.kernels, *inputs)
        rows, gradient = made.flatten(0, -2), outer[0].contiguous().flatten(0, -2)
        weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[2]:
            weight_gradient = torch.mm(gradient.t(), rows).to(weight.dtype)
        if bias is not None and ctx.needs_input_grad[3]:
            bias_gradient = gradient.sum(0, dtype=bias.dtype)
        made_gradient = torch.mm(gradient, weight.to(gradient.dtype)).view_as(made)
        del made, rows
        found = ctx.source.differentiate(ctx.kernels, made_gradient, kept, *inputs)
        return None, None, weight_gradient, bias_gradient, *found
