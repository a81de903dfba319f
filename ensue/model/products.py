"""A layer's matrix products, each with what makes its input: fused where this machine can, plain modules elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ensue.core.native import Kernels, usable_kernels
from ensue.model.activation import gelu, swiglu
from ensue.model.fused import GeluSource, GivenSource, NormSource, Source, SwiGLUSource, fused_product, fused_source
from ensue.model.low_rank import LowRankLinear
from ensue.model.norm import LayerNorm, Norm


def product_of(linear: nn.Linear, x: Tensor) -> Tensor:
    """linear(x)."""
    return _product(linear, GivenSource(), lambda x: x, x)


def product_of_gelu(linear: nn.Linear, x: Tensor) -> Tensor:
    """linear(gelu(x))."""
    return _product(linear, GeluSource(), gelu, x)


def product_of_swiglu(linear: nn.Linear, gate_up: Tensor) -> Tensor:
    """linear(swiglu(gate_up))."""
    return _product(linear, SwiGLUSource(), swiglu, gate_up)


def product_of_norm(linear: nn.Linear, norm: Norm, x: Tensor) -> Tensor:
    """linear(norm(x))."""
    return _product(linear, _source(norm), norm, x, *_parameters(norm))


def normed_for_product(norm: Norm, x: Tensor) -> Tensor:
    """norm(x) where only a matrix product elsewhere reads it, in that product's precision. A norm that stands in the
    residual stream, which is never given less than its own, is called as `norm(x)`."""
    source = _source(norm)
    kernels = usable_kernels(x.device)
    if kernels is None or x.dtype != source.reads:
        plain: Tensor = norm(x)
        return plain
    return fused_source(kernels, source, x, *_parameters(norm))


def _product(
    linear: nn.Linear, source: Source, twin: Callable[[Tensor], Tensor], x: Tensor, *parameters: Tensor | None
) -> Tensor:
    """The product of what `source` makes of `x` and `parameters`, or `linear(twin(x))` where there is no kernel."""
    kernels = _kernels_for(linear, x, source.reads)
    if kernels is None:
        plain: Tensor = linear(twin(x))
        return plain
    if isinstance(linear, LowRankLinear):
        made = fused_source(kernels, source, x, *parameters)
        return linear.beside(made, fused_product(kernels, GivenSource(), linear.weight, linear.bias, made))
    return fused_product(kernels, source, linear.weight, linear.bias, x, *parameters)


def _kernels_for(linear: nn.Linear, x: Tensor, dtype: torch.dtype) -> Kernels | None:
    """The kernels, where `x` is of the dtype they read and the weights are ordinary fp32 tensors, not sharded ones."""
    kernels = usable_kernels(x.device)
    if kernels is None or x.dtype != dtype or linear.weight.dtype != torch.float32:
        return None
    return kernels if type(linear.weight) in (nn.Parameter, Tensor) else None


def _source(norm: Norm) -> NormSource:
    return NormSource(centred=isinstance(norm, LayerNorm), epsilon=norm.epsilon)


def _parameters(norm: Norm) -> tuple[Tensor, Tensor | None]:
    return norm.weight, norm.bias if isinstance(norm, LayerNorm) else None
