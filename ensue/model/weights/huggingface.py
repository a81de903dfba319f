"""A GPT to and from a folder in Hugging Face's layout, without their library."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ensue.model.gpt import GPT
from ensue.model.weights.config_json import CONFIG, config_json, layout_for, read_config
from ensue.model.weights.layout import Layout
from ensue.model.weights.tensor_files import WEIGHTS, StoredTensor, open_tensors


def save_model(model: GPT, folder: Path, *, end_token: int | None = None) -> None:
    """Write `config.json` and `model.safetensors`, in the model's own precision, into `folder`.

    `transformers` loads the folder where it has an architecture that computes the same; our own record of the config is
    in it either way. `end_token` tells other programs where a text ends. Raises OSError where it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(config_text(model, end_token=end_token), encoding="utf-8")
    try:
        tensors = {name: _alone(tensor.cpu()) for name, tensor in stored_tensors(model).items()}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(errno.EIO, f"writing failed ({error})", str(folder / WEIGHTS)) from error


def stored_tensors(model: GPT) -> dict[str, Tensor]:
    """Every parameter as `model.safetensors` has it, by the name it has there: views of the live weights."""
    layout = layout_for(model.config)
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        place = layout.place(name)
        for stored_name, piece in zip(place.names, parameter.detach().chunk(len(place.names)), strict=True):
            tensors[stored_name] = piece.t() if place.transposed else piece
    return tensors


def config_text(model: GPT, *, end_token: int | None = None) -> str:
    """What `config.json` says of this model."""
    dtype = str(model.token_embedding.weight.dtype).removeprefix("torch.")
    record = config_json(model.config, layout_for(model.config), dtype=dtype, end_token=end_token)
    return json.dumps(record, indent=2) + "\n"


def _alone(tensor: Tensor) -> Tensor:
    """The tensor in memory of its own, one row after another: safetensors refuses pieces that share theirs."""
    whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if whole else tensor.clone(memory_format=torch.contiguous_format)


def load_model(folder: Path) -> GPT:
    """The model of a folder that Ensue or `transformers` wrote: on the CPU, in fp32, in evaluation mode.

    Raises FileNotFoundError where a file is missing, and ValueError naming the file, and the tensor with the shape
    expected and found, where they do not make a model.
    """
    config, layout = read_config(folder)
    model = GPT.empty(config)
    with open_tensors(folder) as tensors:
        _fill(model, layout, tensors, folder)
    return model.eval()


@torch.no_grad()
def _fill(model: GPT, layout: Layout, tensors: Mapping[str, StoredTensor], folder: Path) -> None:
    """Copy every stored tensor to its place; all are checked before the first is read."""
    stored = {name.removeprefix(layout.prefix): tensor for name, tensor in tensors.items()}
    places = {name: layout.place(name) for name, _ in model.named_parameters()}
    sources = {name: [_find(stored, piece, folder, layout) for piece in place.names] for name, place in places.items()}
    used = {piece.removeprefix(layout.prefix) for place in places.values() for piece in place.names}
    copies = _head_copies(model, layout)
    for name, tensor in stored.items():
        if name not in used | copies and not name.endswith(layout.ignored):
            raise ValueError(
                f"{tensor.file} holds the tensor {name!r} of shape {list(tensor.shape)}, which a {layout.model_type} "
                f"model with this {CONFIG} does not have; the two do not belong together."
            )
    for name, parameter in model.named_parameters():
        for source, piece in zip(sources[name], places[name].names, strict=True):
            _check_shape(source, piece, parameter, places[name].transposed, len(sources[name]))
    for name, parameter in model.named_parameters():
        for source, target in zip(sources[name], parameter.chunk(len(sources[name])), strict=True):
            target.copy_(source.read().t() if places[name].transposed else source.read())
    for name in copies & stored.keys():
        if not torch.equal(stored[name].read().to(model.head_weight.dtype), model.head_weight):
            raise ValueError(
                f"{stored[name].file}: {name!r} differs from the token embedding that {CONFIG} says it is tied to; "
                f'set "tie_word_embeddings" to false in {folder / CONFIG} if the two were trained apart.'
            )


def _find(stored: Mapping[str, StoredTensor], name: str, folder: Path, layout: Layout) -> StoredTensor:
    found = stored.get(name.removeprefix(layout.prefix))
    if found is None:
        files = sorted({str(tensor.file) for tensor in stored.values()})
        raise ValueError(
            f"the tensor {name!r} is missing from {', '.join(files) or folder}; the file is not whole, or it does not "
            f"belong with its {CONFIG}, which describes a {layout.model_type} model."
        )
    return found


def _head_copies(model: GPT, layout: Layout) -> set[str]:
    """Names under which a tied output matrix may be stored a second time."""
    return set(layout.place("head.weight").names) if model.head is None else set()


def _check_shape(source: StoredTensor, name: str, parameter: Tensor, transposed: bool, pieces: int) -> None:
    expected = (parameter.shape[0] // pieces, *parameter.shape[1:])
    if transposed:
        expected = expected[::-1]
    if source.shape != expected:
        raise ValueError(
            f"{source.file}: the tensor {name!r} has the shape {list(source.shape)}, but {CONFIG} makes it "
            f"{list(expected)}; the two do not belong together."
        )
