"""AdamW as each paper sets it, and Muon for the matrices of the blocks; one object that the engine steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ensue.train.adamw import AdamW
from ensue.train.muon import Muon
from ensue.train.parallel_tensors import mesh_of, piece_like


@dataclass(frozen=True)
class OptimizerConfig:
    """`adamw` for everything, or `muon` for the blocks' matrices with AdamW for the rest.

    Weight decay is decoupled and spares biases and gains (GPT, 4.1). `muon_lr` is in units of a matrix's own scale;
    `muon_precision` is its orthogonalisation's, and bf16 serves as well where the processor multiplies it fast.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    lr: float = 6e-4
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    clip: float | None = 1.0
    muon_lr: float = 0.02
    muon_momentum: float = 0.95
    muon_weight_decay: float = 0.0
    muon_precision: Literal["fp32", "bf16"] = "fp32"


class Optimizer:
    """One or two optimizers over all of a model's parameters, addressed by parameter name when saved."""

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        if not named:
            raise ValueError("the model has no parameter to train.")
        self.names = {id(parameter): name for name, parameter in named}
        matrices = [pair for pair in named if config.kind == "muon" and _is_block_matrix(*pair)]
        taken = {name for name, _ in matrices}
        rest = [pair for pair in named if pair[0] not in taken]
        self.parts: list[AdamW | Muon] = []
        if rest:
            self.parts.append(_adamw(rest, config))
        if matrices:
            self.parts.append(_muon(matrices, config))
        for part in self.parts:
            for group in part.param_groups:
                group["full_lr"] = group["lr"]

    def set_factor(self, factor: float) -> None:
        """Set every group's rate to `factor` times its own full rate."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group["full_lr"] * factor

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """All of the state, as `parameter name/state name` -> tensor, in the order of the model's parameters."""
        states = {self.names[id(owner)]: state for part in self.parts for owner, state in part.state.items()}
        return {
            f"{name}/{key}": value if isinstance(value, Tensor) else torch.tensor(value)
            for name in self.names.values()
            for key, value in states.get(name, {}).items()
        }

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave, whole; of a parameter that is cut, each process keeps its piece. Raises
        ValueError where it is another model's."""
        for name, value in tensors.items():
            owner, _, key = name.rpartition("/")
            part, parameter = self._find(owner)
            if value.dim() and value.shape != parameter.shape:
                shapes = f"{tuple(value.shape)}, not {tuple(parameter.shape)}"
                raise ValueError(f"optimizer state {name} has shape {shapes}.")
            piece = piece_like(parameter, value) if value.dim() else value
            part.state[parameter][key] = piece.to(parameter.device, copy=True)

    def trained(self) -> dict[str, str]:
        """What is trained: parameter name -> its optimizer and shape, by which a checkpoint knows its own model."""
        return {
            self.names[id(parameter)]: f"{type(part).__name__} {tuple(parameter.shape)}"
            for part in self.parts
            for group in part.param_groups
            for parameter in group["params"]
        }

    def _find(self, name: str) -> tuple[AdamW | Muon, Any]:
        for part in self.parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    if self.names[id(parameter)] == name:
                        return part, parameter
        raise ValueError(f"the optimizer state names a parameter this model does not train: {name}.")


def _is_block_matrix(name: str, parameter: Tensor) -> bool:
    return parameter.dim() == 2 and name.startswith("blocks.")


def _adamw(named: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig) -> AdamW:
    # One kernel updates a group, and takes no tensors that are cut over different meshes.
    groups: dict[tuple[bool, Any], list[nn.Parameter]] = {}
    for _, parameter in named:
        groups.setdefault((parameter.dim() < 2, mesh_of(parameter)), []).append(parameter)
    return AdamW(
        [
            {"params": parameters, "lr": config.lr, "weight_decay": 0.0 if spared else config.weight_decay}
            for (spared, _), parameters in sorted(groups.items(), key=lambda group: group[0][0])
        ],
        betas=(config.beta1, config.beta2),
        epsilon=config.epsilon,
    )


def _muon(named: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig) -> Muon:
    parameters = [parameter for _, parameter in named]
    dtype = torch.bfloat16 if config.muon_precision == "bf16" else torch.float32
    return Muon(
        parameters,
        lr=config.muon_lr,
        momentum=config.muon_momentum,
        weight_decay=config.muon_weight_decay,
        dtype=dtype,
    )
