"""A model as copies (DDP), or in pieces (FSDP2 and tensor parallelism): the replicas of a run of several processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from ensue.loss.types import Loss, Objective
from ensue.train.parallel import Place, sum_over_processes
from ensue.train.parallel_layers import cut_layers, gains_of_all_heads, score_in_parts
from ensue.train.parallel_replica import Whole
from ensue.train.parallel_tensors import local, shards_of


class Copies(Whole):
    """The whole model in every process; DDP adds the gradients up while the last backward pass still runs."""

    def __init__(self, model: nn.Module, objective: Objective[Any], place: Place) -> None:
        """Every copy becomes what process 0 holds."""
        self.place, self.averaged_over = place, place.processes
        self._ddp = DistributedDataParallel(_Forward(model, objective), gradient_as_bucket_view=True)

    def loss(self, batch: Any, *, last: bool) -> Loss:
        self._ddp.require_backward_grad_sync = last  # what its `no_sync` sets, for a whole micro-batch
        loss: Loss = self._ddp(batch)
        return loss

    def total(self, values: Sequence[float]) -> list[float]:
        return sum_over_processes(values)


class Pieces:
    """A piece of every tensor in each process of a shard group, and of each layer in each of a tensor group.

    Whole tensors are gathered block by block as the passes need them, and gradients are added up as they come.
    """

    def __init__(
        self, model: nn.Module, objective: Objective[Any], place: Place, mesh: DeviceMesh, *, low_precision: bool
    ) -> None:
        """Cut `model` in place; its weights are filled in afterwards (`parallel_tensors.fill`).

        `low_precision` gathers the blocks' weights as bf16, which they are multiplied in; what is outside of them, and
        every sum of gradients, stays fp32. Raises ValueError where the layers cannot be cut so.
        """
        self.place, self.averaged_over = place, 1
        self._model, self._objective = model, objective
        self._tensor_group = mesh.get_group("tensor") if place.tensor > 1 else None
        blocks = list(model.get_submodule("blocks").children())
        if place.tensor > 1:
            for block in blocks:
                cut_layers(block, mesh["tensor"])
            score_in_parts(blocks, mesh["tensor"])
        copies_and_shards = mesh["data", "shard"] if place.data > 1 else mesh["shard"]
        policy = MixedPrecisionPolicy(cast_forward_inputs=False)
        if low_precision:
            policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        for block in blocks:
            fully_shard(block, mesh=copies_and_shards, mp_policy=policy)
        fully_shard(model, mesh=copies_and_shards, reshard_after_forward=False)
        register_fsdp_forward_method(model, "hidden")
        self._shared = [module for module in model.modules() if isinstance(module, FSDPModule)]
        for module in self._shared:
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)

    def loss(self, batch: Any, *, last: bool) -> Loss:
        for module in self._shared:
            module.set_requires_all_reduce(last)
        return self._objective.loss(self._model, batch)

    def total(self, values: Sequence[float]) -> list[float]:
        return sum_over_processes(values)

    @torch.no_grad()
    def complete(self) -> None:
        """Add up, over the tensor group, what each of its processes has only its own part of: the gradients outside the
        blocks (each scored its own targets) and those of gains that all heads share (each has its own heads)."""
        if self._tensor_group is None:
            return
        for name, parameter in self._model.named_parameters():
            if parameter.grad is not None and (not name.startswith("blocks.") or gains_of_all_heads(name)):
                dist.all_reduce(local(parameter.grad), group=self._tensor_group)

    @torch.no_grad()
    def norm(self, gradients: Sequence[Tensor]) -> float:
        """Each process adds the squares of its pieces, a piece that several hold counted once in all."""
        squares = [
            torch.linalg.vector_norm(local(gradient), dtype=torch.float64).square()
            * (shards_of(gradient) / self.place.processes)
            for gradient in gradients
        ]
        total: float = self.total([float(torch.stack(squares).sum())])[0] ** 0.5
        return total

    def forget_gathered(self) -> None:
        for module in self._shared:
            module.reshard()


def recompute(blocks: Iterable[nn.Module]) -> None:
    """Keep only each block's input for the backward pass, and run the block again there."""
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


class _Forward(nn.Module):
    """The objective on the model as one forward pass, which is what DDP wraps."""

    def __init__(self, model: nn.Module, objective: Objective[Any]) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Any) -> Loss:
        return self.objective.loss(self.model, batch)
