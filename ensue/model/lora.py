"""LoRA (Hu et al. 2021): what a model learns is a product of two thin matrices beside each of its own, which are kept.

The product is a second, narrow way from a layer's input to its output. Added to the weights before they are used
(`torch.nn.utils.parametrize`) it would be fewer lines, but then every step makes the gradient of all the weights, a
third of its work, and holds a second copy of them until the backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ensue.core.seeds import seed_for
from ensue.model.block import Block, GatedMLP
from ensue.model.gpt import GPT
from ensue.model.low_rank import LowRankLinear
from ensue.model.more_tokens import TOKEN_TABLES

# Legend: V vocabulary, N new tokens, W width.

Target = Literal["qkv", "out", "up", "down"]
TARGETS: tuple[Target, ...] = get_args(Target)


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """An adapter of `rank` beside the `targets` of every block: attention's qkv and out, the MLP's up (with its gate)
    and down. What it adds is scaled by alpha / rank, so that the learning rate need not change with the rank."""

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[Target, ...] = TARGETS

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"--lora {self.rank} should be a rank of 1 or more, such as 8.")
        if not self.alpha > 0:
            raise ValueError(f"--lora-alpha {self.alpha} should be above 0; what is learned is scaled by alpha / rank.")
        if not self.targets:
            raise ValueError(f"--lora-targets should name one or more of {', '.join(TARGETS)}.")


def adapt(model: GPT, lora: LoRA, *, seed: int, new_tokens: int = 0) -> None:
    """Freeze the model, in place, and put the adapter beside its matrices, drawn from the seed; B begins as 0, so that
    it computes what it did.

    The last `new_tokens` rows of the token tables are trained in full. The model is on its device already.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for block in model.blocks:
        assert isinstance(block, Block)
        for target in dict.fromkeys(lora.targets):
            owner, name = _place(block, target)
            where = f"{block.prefix}.{target}"
            generator = torch.Generator().manual_seed(seed_for(seed, "init", "lora", where))
            linear = getattr(owner, name)
            adapted = LowRankLinear(linear, rank=lora.rank, scale=lora.alpha / lora.rank, generator=generator)
            setattr(owner, name, adapted.train(linear.training))
    for path in TOKEN_TABLES if new_tokens else ():
        if model.head is not None or not path.startswith("head"):
            module = model.get_submodule(path.removesuffix(".weight"))
            assert isinstance(module.weight, Tensor)
            rows = NewRows(module.weight, new_tokens)
            parametrize.register_parametrization(module, "weight", rows, unsafe=True)


@torch.no_grad()
def merged(model: GPT) -> GPT:
    """A plain GPT that computes the same as an adapted one: its matrices are new, all else is the model's own."""
    with torch.device("meta"):
        plain = GPT(model.config)
    weights = {}
    for name in plain.state_dict():
        path, _, kind = name.rpartition(".")
        module = model.get_submodule(path)
        if isinstance(module, LowRankLinear) and kind == "weight":
            weights[name] = module.merged()
        else:
            weights[name] = getattr(module, kind).detach()
    plain.load_state_dict(weights, assign=True)
    return plain.train(model.training)


def trained(model: nn.Module) -> dict[str, Tensor]:
    """What of a model is trained, by name: views of the live weights."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def take_trained(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put what `trained` gave back, in place. Raises ValueError, naming it, for a tensor of another model."""
    ours = trained(model)
    for name in sorted(ours.keys() | tensors.keys()):
        there, here = (tuple(side[name].shape) if name in side else None for side in (tensors, ours))
        if there != here:
            raise ValueError(f"{name} is {there or 'not there'}, and should be {here or 'left out'}.")
    for name, tensor in tensors.items():
        ours[name].copy_(tensor)


class NewRows(nn.Module):
    """A (V, W) table of which only the last N rows are trained, where they stand: `rows` has the table's own memory."""

    def __init__(self, table: Tensor, count: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(table.detach()[-count:])

    def forward(self, table: Tensor) -> Tensor:
        """The table as one that has a gradient in its last rows."""
        assert self.rows.data_ptr() == table[-len(self.rows) :].data_ptr()
        joined: Tensor = _Joined.apply(table, self.rows)  # type: ignore[no-untyped-call]
        return joined


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        return table.view_as(table)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[None, Tensor]:
        return None, outer[0][-ctx.count :]


def _place(block: Block, target: Target) -> tuple[nn.Module, str]:
    """The module that has this matrix of a block, and its name there."""
    if target in ("qkv", "out"):
        return block.attention, target
    return block.mlp, "gate_up" if target == "up" and isinstance(block.mlp, GatedMLP) else target
