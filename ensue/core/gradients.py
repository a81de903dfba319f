"""A gradient given to its parameter as soon as it is found, instead of on a way through autograd that copies it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor, nn

_STRAIGHT: ContextVar[bool] = ContextVar("gradients go straight to their parameters", default=False)


@contextmanager
def gradients_given_at_once(wanted: bool) -> Iterator[None]:
    """Around a backward pass that is to fill `.grad`, on a CPU, with no hook on any parameter that wants to see it."""
    token = _STRAIGHT.set(wanted)
    try:
        yield
    finally:
        _STRAIGHT.reset(token)


def give_gradient(parameter: Tensor, gradient: Tensor) -> Tensor | None:
    """What a backward function returns for `parameter`: the gradient, or None where it now is `parameter.grad`.

    Where a parameter is used twice, as the tied embedding is, autograd makes a third tensor of its two gradients; the
    second is instead added to the first, which stays in its place. Where there is a gradient already, of an earlier
    micro-batch, nothing changes, so that sums are those of whole gradients. `gradient` is given away.
    """
    if not _STRAIGHT.get() or type(parameter) is not nn.Parameter or parameter.grad is not None:
        return gradient
    parameter.grad = gradient
    return None
