"""Tensor parallelism: the matrices of a layer cut by heads and by hidden units (Shoeybi et al. 2019, section 3).

The first matrix of each part is cut by rows (its outputs) and the second by columns (its inputs), so that a layer needs
two sums over the group forward and two backward. Norms and the residual stream are whole in every process. So are the
embeddings and the head, but each process scores only its own share of the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

PARTS_OF_ROWS = {"attention.qkv": 3, "mlp.gate_up": 2}
"""Matrices that are several on top of each other: each of them is cut, not the pile."""


def cut_layers(block: nn.Module, group: DeviceMesh) -> None:
    """Cut one block's matrices over the processes of `group`, whose number divides its heads and its hidden units."""
    attention, mlp = block.get_submodule("attention"), block.get_submodule("mlp")
    gated = any(name == "gate_up" for name, _ in mlp.named_children())
    first = "gate_up" if gated else "up"
    parallelize_module(
        block,
        group,
        {
            "attention.qkv": ColwiseParallel(),
            "attention.out": RowwiseParallel(),
            f"mlp.{first}": ColwiseParallel(),
            "mlp.down": RowwiseParallel(),
        },
    )
    attention.heads = int(attention.heads) // group.size()  # type: ignore[arg-type, assignment]


def score_in_parts(blocks: Sequence[nn.Module], group: DeviceMesh) -> None:
    """Make the gradients right where each process of the group scores only its share of the targets.

    Below the head a process has the gradient of its own targets only, so it is added up before the last block. Between
    the first block and the embeddings all have the whole of it again, and each passes its share of it down. So the
    gradients of everything outside the blocks are parts of a sum (`Pieces.complete`).
    """

    def add_up(_: nn.Module, __: Any, states: Tensor) -> None:
        if states.requires_grad:
            states.register_hook(lambda gradient: _added_up(gradient, group))  # type: ignore[no-untyped-call]

    def share_out(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].requires_grad:
            inputs[0].register_hook(lambda gradient: gradient / group.size())  # type: ignore[no-untyped-call]

    blocks[-1].register_forward_hook(add_up)
    blocks[0].register_forward_pre_hook(share_out)


def _added_up(gradient: Tensor, group: DeviceMesh) -> Tensor:
    whole = gradient.contiguous().clone()
    dist.all_reduce(whole, group=group.get_group())
    return whole


def gains_of_all_heads(name: str) -> bool:
    """Whether this parameter belongs to every head, of which each process has its own few."""
    return "attention.query_norm." in name or "attention.key_norm." in name


def to_cut_order(name: str, value: Tensor, tensor: int) -> Tensor:
    """Rows of a whole tensor, or of the optimizer's state of it, in the order in which `tensor` processes hold them."""
    parts = _parts(name)
    return value if tensor == 1 or parts == 1 or not value.dim() else _regroup(value, parts, tensor)


def from_cut_order(name: str, value: Tensor, tensor: int) -> Tensor:
    """The other way."""
    parts = _parts(name)
    return value if tensor == 1 or parts == 1 or not value.dim() else _regroup(value, tensor, parts)


def _parts(name: str) -> int:
    return next((parts for matrix, parts in PARTS_OF_ROWS.items() if f"{matrix}." in name), 1)


def _regroup(value: Tensor, outer: int, inner: int) -> Tensor:
    """(outer x inner x n, ...) -> (inner x outer x n, ...)."""
    return value.reshape(outer, inner, -1, *value.shape[1:]).transpose(0, 1).flatten(0, 2)
