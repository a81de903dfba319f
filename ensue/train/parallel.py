"""The processes of one run: how many, what each is for, and what they tell each other beside tensors.

`torchrun` starts them and says in the environment who is who. They stand in a mesh of data x shard x tensor: `data`
copies of the model, each cut into `shard` pieces, whose layers are each cut into `tensor` pieces. Process 0 leads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

PATIENCE = timedelta(hours=12)
"""How long a process waits for a word of the others: reading text takes hours. One that dies is noticed at once, by its
closed connections."""


@dataclass(frozen=True)
class ParallelConfig:
    """Sizes of the mesh; null takes what the others leave, and of two nulls `shard` takes it all.

    `data` alone is data parallelism (DDP); `shard` cuts weights, gradients and optimizer into so many pieces (FSDP2);
    `tensor` cuts the matrices of each layer by heads and hidden units, for machines with fast links. `recompute` keeps
    only each block's input for the backward pass and runs the block again there (Chen et al. 2016).
    """

    data: int | None = None
    shard: int | None = 1
    tensor: int = 1
    recompute: bool = False

    def __post_init__(self) -> None:
        for name, size in (("data", self.data), ("shard", self.shard), ("tensor", self.tensor)):
            if size is not None and size < 1:
                raise ValueError(f"--parallel.{name} must be 1 or more, not {size}; null takes what the others leave.")

    def sizes(self, processes: int) -> tuple[int, int, int]:
        """(data, shard, tensor) of so many processes. Raises ValueError where they do not make that many."""
        said = (self.data or 1) * (self.shard or 1) * self.tensor
        rest = processes // said
        shard = self.shard if self.shard is not None else rest
        data = self.data if self.data is not None else 1 if self.shard is None else rest
        if data * shard * self.tensor == processes:
            return data, shard, self.tensor
        multiple = " or a multiple of them" if None in (self.data, self.shard) else ""
        raise ValueError(
            f"the mesh of data {_size(self.data)} x shard {_size(self.shard)} x tensor {self.tensor} is for {said} "
            f"process{'es' if said > 1 else ''}{multiple}, and this run has {processes}. Start {said} with torchrun "
            f"--nproc-per-node {said}, or give sizes that make {processes}, such as --parallel.data {processes} "
            "--parallel.shard 1 --parallel.tensor 1."
        )


def _size(size: int | None) -> str:
    return "null" if size is None else str(size)


@dataclass(frozen=True)
class Place:
    """Where a process stands: its number among all of them, and the sizes of their mesh. The default is one alone.

    The processes of a tensor group, `tensor` of them with numbers in a row, read the same sequences: together they are
    one of the mesh's `readers`.
    """

    rank: int = 0
    data: int = 1
    shard: int = 1
    tensor: int = 1

    @property
    def processes(self) -> int:
        return self.data * self.shard * self.tensor

    @property
    def readers(self) -> int:
        return self.data * self.shard

    @property
    def reader(self) -> int:
        return self.rank // self.tensor

    @property
    def tensor_rank(self) -> int:
        return self.rank % self.tensor

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        """Whether no process holds a whole model."""
        return self.shard > 1 or self.tensor > 1


def started_processes() -> int:
    """How many processes torchrun started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank_of_this() -> int:
    """This process's number among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def restarted() -> bool:
    """Whether torchrun has started all of them again because one was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@contextmanager
def together(*, on_gpu: bool) -> Iterator[None]:
    """Meet the other processes that torchrun started, each with its own GPU if they train on those, until the end.

    Raises ValueError where this machine has fewer GPUs than processes.
    """
    if on_gpu:
        check_gpus(int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count())
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def check_gpus(processes: int, gpus: int) -> None:
    """Raise ValueError where not each of the processes on this machine has a GPU of its own."""
    if processes > gpus:
        raise ValueError(
            f"torchrun started {processes} processes on this machine, and {gpus} is the number of GPUs it sees; "
            f"type --nproc-per-node {gpus}, or CUDA_VISIBLE_DEVICES= before the command to train on the CPU."
        )


def make_mesh(place: Place, device: torch.device) -> DeviceMesh:
    """The mesh of all processes, with dimensions data, shard and tensor."""
    return init_device_mesh(
        device.type, (place.data, place.shard, place.tensor), mesh_dim_names=("data", "shard", "tensor")
    )


def sum_over_processes(values: Sequence[float]) -> list[float]:
    """Each value summed over all processes, in float64; the same list on each."""
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    listed: list[float] = summed.tolist()
    return listed


def tell(order: dict[str, Any]) -> None:
    """Process 0 tells the others what all are to do next, as JSON."""
    text = torch.frombuffer(bytearray(json.dumps(order).encode()), dtype=torch.uint8)
    dist.broadcast(torch.tensor([len(text)]), src=0)
    dist.broadcast(text, src=0)


def listen() -> dict[str, Any]:
    """What process 0 tells next."""
    length = torch.zeros(1, dtype=torch.int64)
    dist.broadcast(length, src=0)
    text = torch.zeros(int(length), dtype=torch.uint8)
    dist.broadcast(text, src=0)
    order: dict[str, Any] = json.loads(bytes(text.tolist()))
    return order
