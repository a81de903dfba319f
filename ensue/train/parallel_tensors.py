"""Whole tensors from pieces and pieces of whole tensors: what checkpoints and the matrices of Muon need."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.placement_types import _StridedShard

logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
# It warns for each tensor cut along two dimensions that gathering it takes two steps, as it must.

# A tensor cut by both kinds was cut along the mesh's `tensor` dimension first and along `shard` after that, which is
# what a _StridedShard stands for.


def is_cut(tensor: Tensor) -> bool:
    """Whether this process may hold only a piece of the tensor."""
    return isinstance(tensor, DTensor)


def mesh_of(tensor: Tensor) -> DeviceMesh | None:
    """The processes a tensor is cut over."""
    return tensor.device_mesh if isinstance(tensor, DTensor) else None


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on every process; all of them must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def piece_like(tensor: Tensor, value: Tensor) -> Tensor:
    """What this process holds of the whole `value` when it is cut as `tensor` is; all of it where that is not cut."""
    value = value.to(tensor.device)
    if not isinstance(tensor, DTensor):
        return value
    mesh, piece = tensor.device_mesh, value
    for dimension in reversed(range(mesh.ndim)):
        placement = tensor.placements[dimension]
        if isinstance(placement, Shard | _StridedShard):
            along = placement.dim
            pieces = piece.chunk(mesh.size(dimension), dim=along)
            mine = mesh.get_local_rank(dimension)
            piece = pieces[mine] if mine < len(pieces) else piece.narrow(along, 0, 0)
    return DTensor.from_local(
        piece.contiguous(), mesh, tensor.placements, run_check=False, shape=value.shape, stride=value.stride()
    )


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: writing to it writes to the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shards_of(tensor: Tensor) -> int:
    """Into how many pieces a tensor is cut."""
    if not isinstance(tensor, DTensor):
        return 1
    cut = (dimension for dimension, placement in enumerate(tensor.placements) if not placement.is_replicate())
    return math.prod(tensor.device_mesh.size(dimension) for dimension in cut)


@torch.no_grad()
def fill(model: nn.Module, source: nn.Module | None, turn: Callable[[str, Tensor], Tensor]) -> None:
    """Give every process its piece of the weights that process 0 has whole in `source`, one tensor after another.

    `turn` puts the rows of a whole tensor into the order in which the model's layers are cut.
    """
    values = dict(source.named_parameters()) if source is not None else {}
    for name, parameter in model.named_parameters():
        value = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        if values:
            value.copy_(turn(name, values[name]))
        dist.broadcast(value, src=0)
        parameter.copy_(piece_like(parameter, value))
