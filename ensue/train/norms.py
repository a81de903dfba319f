"""How large the gradients and the updates of each layer are, every so many steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class LayerNorms:
    """The Euclidean norms of a block's gradient and of its last update, and of what stands outside the blocks.

    Costs a copy of the weights in the steps it is due, and nothing in the others.
    """

    def __init__(self, model: nn.Module, every: int) -> None:
        self._model, self._every = model, every
        self._before: dict[str, Tensor] = {}

    def due(self, step: int) -> bool:
        """Whether step `step`, counted from 1, is told."""
        return self._every > 0 and step % self._every == 0

    def before_update(self) -> None:
        self._before = {name: parameter.detach().clone() for name, parameter in self._model.named_parameters()}

    @torch.no_grad()
    def after_update(self, grad_norm: float, clip: float | None) -> dict[str, dict[str, float]]:
        """Norms by layer: of the mean gradient before it was cut to `clip`, and of the change of the weights."""
        parameters = dict(self._model.named_parameters())
        gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
        updates = {name: parameters[name] - before for name, before in self._before.items()}
        self._before = {}
        uncut = (grad_norm + 1e-6) / clip if clip is not None and grad_norm > clip else 1.0
        return {
            "grad_norms": {layer: norm * uncut for layer, norm in _by_layer(gradients).items()},
            "update_norms": _by_layer(updates),
        }


def _by_layer(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    layers: dict[str, list[Tensor]] = defaultdict(list)
    for name, tensor in tensors.items():
        first, *rest = name.split(".")
        layers[f"{first}.{rest[0]}" if first == "blocks" else first].append(tensor)
    return {layer: float(nn.utils.get_total_norm(parts)) for layer, parts in layers.items()}
