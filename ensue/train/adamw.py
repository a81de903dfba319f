"""AdamW (Loshchilov and Hutter 2019) through torch's fused kernel, with its moments where they are out of the way.

`torch.optim.AdamW` runs the same kernel, but making one loads torch's compiler: 35 MB and a second, for nothing where
nothing is compiled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import record_function

from ensue.core.memory import lasting_zeros


class AdamW:
    """Each group has its `params`, `lr` and `weight_decay`; a parameter's state has torch's names."""

    def __init__(self, groups: Sequence[dict[str, Any]], *, betas: tuple[float, float], epsilon: float) -> None:
        self.param_groups = list(groups)
        self.state: dict[Any, dict[str, Tensor]] = defaultdict(dict)
        self._betas, self._epsilon = betas, epsilon

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient; profilers see it under the name torch gives its own."""
        with record_function("Optimizer.step#AdamW.step"):
            self._step()

    def _step(self) -> None:
        for group in self.param_groups:
            # One call of the kernel takes tensors of one kind.
            alike: dict[tuple[torch.device, torch.dtype], list[Any]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.device, parameter.dtype].append(parameter)
            for parameters in alike.values():
                self._update(parameters, group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Let go of the gradients."""
        assert set_to_none
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _update(self, parameters: list[Any], group: dict[str, Any]) -> None:
        states = [self._state(parameter) for parameter in parameters]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            parameters,
            [parameter.grad for parameter in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=group["weight_decay"],
            eps=self._epsilon,
            amsgrad=False,
            maximize=False,
        )

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = lasting_zeros(parameter), lasting_zeros(parameter)
        return state
