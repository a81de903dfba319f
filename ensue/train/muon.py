"""Muon (Jordan et al. 2024): momentum whose matrix is made orthogonal before it is applied.

`torch.optim.Muon` iterates in bf16 always, which a processor without bf16 products runs a hundred times slower than
fp32; this one iterates in the dtype it is told, in batches of equal shapes, and agrees with torch's in bf16. A matrix
that is cut over processes is gathered, since no piece of it can be made orthogonal alone, and each keeps its piece.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ensue.core.memory import lasting_zeros
from ensue.train.parallel_tensors import is_cut, piece_like, whole

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration: fastest to bring singular values near 1, not exact at 1."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; the rate is scaled by sqrt(max(1, rows / columns)) of each matrix."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype,
        steps: int = 5,
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype
        self.iterations = steps

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            alike: dict[torch.Size, list[Any]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                # Whole matrices of pieces are many times what a process holds: one at a time.
                for together in [[each] for each in parameters] if is_cut(parameters[0]) else [parameters]:
                    self._update(together, group)

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        directions = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = lasting_zeros(parameter)
            state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
            directions.append(parameter.grad.lerp(state["momentum"], group["momentum"]))
        rows, columns = parameters[0].shape
        matrices = torch.stack([whole(direction) for direction in directions])
        orthogonal = orthogonalise(matrices, dtype=self.dtype, steps=self.iterations)
        scale = group["lr"] * max(1.0, rows / columns) ** 0.5
        for parameter, direction in zip(parameters, orthogonal, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(piece_like(parameter, direction.to(parameter.dtype)), alpha=-scale)


def orthogonalise(matrices: Tensor, *, dtype: torch.dtype, steps: int) -> Tensor:
    """The (n, R, C) matrices with every singular value brought near 1, by Newton-Schulz in `dtype`."""
    a, b, c = COEFFICIENTS
    x = matrices.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
