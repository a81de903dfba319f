"""GPT's original release (2018): one run of numbers in params_0.npy ... params_9.npy, shapes in params_shapes.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.presets import gpt
from ensue.model.weights.config_json import CONFIG, config_json, load_config
from ensue.model.weights.layout import mlp_width
from ensue.model.weights.openai_gpt import OPENAI_GPT

SHAPES = "params_shapes.json"
FILES = 10
HEAD_WIDTH = 64
"""The layout does not record the number of heads; the released model's are 64 wide."""

Array = npt.NDArray[np.float32]
BLOCK = (
    "attention.qkv.weight",
    "attention.qkv.bias",
    "attention.out.weight",
    "attention.out.bias",
    "attention_norm.weight",
    "attention_norm.bias",
    "mlp.up.weight",
    "mlp.up.bias",
    "mlp.down.weight",
    "mlp.down.bias",
    "mlp_norm.weight",
    "mlp_norm.bias",
)
"""The order of a layer's arrays. Matrices are stored (1, in, out): the release computes them as convolutions."""


def is_original_gpt(folder: Path) -> bool:
    """Whether the folder holds the original release's files."""
    return (folder / SHAPES).is_file() and (folder / "params_0.npy").is_file()


@torch.no_grad()
def load_original_gpt(folder: Path, *, heads: int | None = None) -> GPT:
    """The model of the original release, in fp32 and evaluation mode, at whatever size its shapes file gives.

    `heads` defaults to what a config.json beside the files says, and without one to heads 64 wide. Raises
    FileNotFoundError where a file is missing, and ValueError naming the one that is damaged.
    """
    shapes = _read_shapes(folder / SHAPES)
    config = _config(shapes, folder, heads)
    model = GPT.empty(config)
    parameters = dict(model.named_parameters())
    for (name, stored), shape, array in zip(_order(config), shapes, _arrays(folder, shapes), strict=True):
        expected = _stored_shape(parameters[name].shape, stored)
        if shape != expected:
            raise ValueError(
                f"{folder / SHAPES}: {name} has the shape {list(shape)}; the others make it {list(expected)}."
            )
        values = torch.from_numpy(array)
        parameters[name].copy_(values[0].t() if stored else values)
    return model.eval()


def save_original_gpt(model: GPT, folder: Path) -> None:
    """Write a GPT in the original release's layout, in fp32, with a config.json that says what the layout leaves out.

    Raises ValueError for a model that is not a GPT of 2018 with tied embeddings.
    """
    config = model.config
    if not OPENAI_GPT.fits(config) or not config.tied:
        raise ValueError(
            "the original GPT release's layout holds only the GPT of 2018 (norms after each sum, dense, tied); "
            "convert this model to a Hugging Face folder instead."
        )
    parameters = {name: parameter.detach().float().cpu() for name, parameter in model.named_parameters()}
    arrays = [(parameters[name].t()[None] if stored else parameters[name]).numpy() for name, stored in _order(config)]
    folder.mkdir(parents=True, exist_ok=True)
    shapes = [list(array.shape) for array in arrays]
    (folder / SHAPES).write_text(json.dumps(shapes) + "\n", encoding="utf-8")
    record = config_json(config, OPENAI_GPT, dtype="float32", end_token=None)
    (folder / CONFIG).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    flat = np.concatenate([array.reshape(-1) for array in arrays])
    for number, piece in enumerate(np.array_split(flat, FILES)):
        np.save(folder / f"params_{number}.npy", piece, allow_pickle=False)


def _order(config: GPTConfig) -> list[tuple[str, bool]]:
    """Our name of each array in turn, and whether it is stored as a convolution's (1, in, out)."""
    blocks = [(f"blocks.{layer}.{name}", name) for layer in range(config.layers) for name in BLOCK]
    matrices = [(full, name.endswith("weight") and "norm" not in name) for full, name in blocks]
    return [("position_embedding.weight", False), ("token_embedding.weight", False), *matrices]


def _stored_shape(shape: torch.Size, convolution: bool) -> tuple[int, ...]:
    return (1, *reversed(shape)) if convolution else tuple(shape)


def _config(shapes: list[tuple[int, ...]], folder: Path, heads: int | None) -> GPTConfig:
    """The config that a config.json beside the files gives, or else the one that the shapes give."""
    layers, rest = divmod(len(shapes) - 2, len(BLOCK))
    if layers < 1 or rest or len(shapes[0]) != 2 or len(shapes[1]) != 2:
        raise ValueError(
            f"{folder / SHAPES} lists {len(shapes)} shapes; GPT has two embeddings and {len(BLOCK)} arrays a layer."
        )
    if (folder / CONFIG).is_file():
        recorded = load_config(folder)
        if recorded.layers != layers:
            raise ValueError(f"{folder / SHAPES} has {layers} layers, but {folder / CONFIG} has {recorded.layers}.")
        return replace(recorded, heads=heads or recorded.heads)
    (context, width), (vocab, _) = shapes[:2]
    if heads is None and width % HEAD_WIDTH:
        raise ValueError(f"{folder / SHAPES} gives the width, {width}, but not the number of heads; pass heads=N.")
    config = gpt(layers=layers, width=width, heads=heads or width // HEAD_WIDTH, context=context, vocab=vocab)
    return replace(config, mlp_width=mlp_width(width, shapes[2 + BLOCK.index("mlp.up.bias")][-1]))


def _read_shapes(path: Path) -> list[tuple[int, ...]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; name the folder of the original GPT release.")
    try:
        shapes = [tuple(int(size) for size in shape) for shape in json.loads(path.read_bytes())]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a list of shapes ({error}); copy it again.") from error
    if not shapes or any(not shape or min(shape) < 1 for shape in shapes):
        raise ValueError(f"{path} holds an empty shape; copy it again.")
    return shapes


def _arrays(folder: Path, shapes: list[tuple[int, ...]]) -> Iterator[Array]:
    """The files' numbers as one run, cut to the shapes in turn."""
    flat = np.concatenate([_read_numbers(path) for path in _files(folder)])
    wanted = sum(math.prod(shape) for shape in shapes)
    if flat.size != wanted:
        raise ValueError(
            f"{folder / 'params_*.npy'} hold {flat.size:,} numbers, but {SHAPES} needs {wanted:,}; "
            "a file is missing or not whole, copy them again."
        )
    start = 0
    for shape in shapes:
        size = math.prod(shape)
        yield flat[start : start + size].reshape(shape)
        start += size


def _files(folder: Path) -> list[Path]:
    """params_0.npy, params_1.npy and so on: ten in the release, which says nothing of why."""
    files: list[Path] = []
    while (path := folder / f"params_{len(files)}.npy").is_file():
        files.append(path)
    if not files:
        raise FileNotFoundError(
            f"{folder / 'params_0.npy'} does not exist; name the folder of the original GPT release."
        )
    return files


def _read_numbers(path: Path) -> Array:
    try:
        numbers = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is truncated or damaged ({error}); copy it again.") from error
    if not isinstance(numbers, np.ndarray) or numbers.ndim != 1 or numbers.dtype.kind != "f":
        raise ValueError(f"{path} must hold one row of floating-point numbers; copy it again.")
    return numbers.astype(np.float32, copy=False)
