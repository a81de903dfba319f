"""The tensors of a model folder, by name, whatever files hold them; nothing that is read can run code."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = "pytorch_model.bin"


@dataclass(frozen=True)
class StoredTensor:
    """One tensor on disk: its file, its shape, and `read`, which brings it into memory."""

    file: Path
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


@contextmanager
def open_tensors(folder: Path) -> Iterator[dict[str, StoredTensor]]:
    """Yield the tensors of `folder` by name: safetensors, its shards, or PyTorch's pickled file read as data only.

    Raises FileNotFoundError where there are none, and ValueError naming the file that is truncated or damaged.
    """
    with ExitStack() as stack:
        if (folder / WEIGHTS).is_file():
            yield _open_safetensors(folder / WEIGHTS, stack)
        elif (folder / INDEX).is_file():
            tensors: dict[str, StoredTensor] = {}
            for shard in _shards(folder / INDEX):
                tensors.update(_open_safetensors(shard, stack))
            yield tensors
        elif (folder / PICKLED).is_file():
            yield _open_pickled(folder / PICKLED)
        else:
            raise FileNotFoundError(f"{folder} holds no weights: none of {WEIGHTS}, {INDEX} and {PICKLED} is there.")


def _open_safetensors(path: Path, stack: ExitStack) -> dict[str, StoredTensor]:
    try:
        file = stack.enter_context(safe_open(path, framework="pt"))
        return {
            name: StoredTensor(path, tuple(file.get_slice(name).get_shape()), partial(file.get_tensor, name))
            for name in file.keys()  # noqa: SIM118 (an open file is no mapping)
        }
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or damaged ({error}); copy it again.") from error


def _shards(index: Path) -> list[Path]:
    """The files that the index names, in order; each must lie beside it."""
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is not an index of weights ({error!r}); copy it again.") from error
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise FileNotFoundError(f"{index} names the file {name!r}, which is not beside it; copy it there.")
    return [index.parent / name for name in names]


def _open_pickled(path: Path) -> dict[str, StoredTensor]:
    try:
        # Files older than PyTorch 1.6 are no zip archives and cannot be mapped into memory.
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} is damaged, or holds more than tensors, which Ensue does not run ({reason}); use {WEIGHTS}."
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError(f"{path} holds something other than named tensors; use {WEIGHTS}.")
    return {name: StoredTensor(path, tuple(tensor.shape), tensor.clone) for name, tensor in tensors.items()}
