"""The config.json of a model folder, read and written without torch."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ensue.core.config import from_dict, to_dict
from ensue.model.config import GPTConfig
from ensue.model.weights.gpt2 import GPT2
from ensue.model.weights.gpt_neo import GPT_NEO
from ensue.model.weights.layout import Layout
from ensue.model.weights.openai_gpt import OPENAI_GPT
from ensue.model.weights.qwen3 import QWEN3

CONFIG = "config.json"
OWN_KEY = "ensue"


def _read_own(data: Mapping[str, Any]) -> GPTConfig:
    if OWN_KEY not in data:
        raise ValueError(f'a folder of model_type "ensue" must describe the model under the key "{OWN_KEY}".')
    return from_dict(GPTConfig, data[OWN_KEY], OWN_KEY)


OWN = Layout(
    model_type="ensue",
    architecture="GPT",
    fits=lambda config: True,
    write=lambda config: {},
    read=_read_own,
    modules={},
)
"""What no architecture of `transformers` can hold, under our own names."""

LAYOUTS = (GPT2, OPENAI_GPT, GPT_NEO, QWEN3, OWN)
"""In this order, the first that fits a config is how it is written."""


def layout_for(config: GPTConfig) -> Layout:
    """How a model of this config is written: as a Hugging Face architecture where one computes the same."""
    return next(layout for layout in LAYOUTS if layout.fits(config))


def load_config(folder: Path) -> GPTConfig:
    """The config of a model folder, Ensue's or Hugging Face's, without touching its weights.

    Raises FileNotFoundError where there is no config.json, and ValueError naming it where it is damaged or describes
    what Ensue cannot build.
    """
    return read_config(folder)[0]


def read_config(folder: Path) -> tuple[GPTConfig, Layout]:
    """`load_config`, and the layout that the folder's tensors are in."""
    path = folder / CONFIG
    data = _read_json(path)
    layout = _layout_called(data.get("model_type"), path)
    try:
        config = layout.read(data)
        if OWN_KEY in data:
            config = _combine(from_dict(GPTConfig, data[OWN_KEY], OWN_KEY), config, layout)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return config, layout


def config_json(config: GPTConfig, layout: Layout, *, dtype: str, end_token: int | None) -> dict[str, Any]:
    """What config.json says of a model written in `layout`; `end_token` is where generation in other programs stops."""
    return {
        "architectures": [layout.architecture],
        "model_type": layout.model_type,
        **layout.write(config),
        "bos_token_id": end_token,
        "eos_token_id": end_token,
        "dtype": dtype,
        OWN_KEY: to_dict(config),
    }


def _combine(own: GPTConfig, theirs: GPTConfig, layout: Layout) -> GPTConfig:
    """Our record of the config, except for what was changed in the other keys since.

    `transformers` keeps our key as it finds it when it saves a model whose vocabulary, say, it has changed.
    """
    written = layout.read({**layout.write(own), OWN_KEY: to_dict(own)})
    names = [field.name for field in dataclasses.fields(GPTConfig)]
    changed = {name: getattr(theirs, name) for name in names if getattr(theirs, name) != getattr(written, name)}
    return dataclasses.replace(own, **changed)


def _layout_called(name: object, path: Path) -> Layout:
    layouts = {layout.model_type: layout for layout in LAYOUTS}
    if isinstance(name, str) and name in layouts:
        return layouts[name]
    close = difflib.get_close_matches(str(name), layouts, n=1, cutoff=0.5)
    nearest = f" The nearest is {close[0]!r}." if close else ""
    raise ValueError(f"{path}: Ensue cannot load model_type {name!r}; it loads {', '.join(layouts)}.{nearest}")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; name a folder that holds a model ({CONFIG} and its weights).")
    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not readable as JSON ({error}); copy the folder again.") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold a JSON object, not {type(data).__name__}.")
    return data
