"""How one architecture is written on disk: its config keys and its tensor names, as a value."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ensue.core.config import from_dict
from ensue.model.config import GPTConfig
from ensue.model.patterns import Banded, Dense

Keys = TypeVar("Keys")


@dataclass(frozen=True)
class Place:
    """Where one of our tensors lies: in `names`, stacked on the first axis, each of them transposed or not."""

    names: tuple[str, ...]
    transposed: bool


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One architecture on disk.

    `fits` says whether a config can be written this way without changing what the model computes; `write` gives the
    keys of `config.json` and `read` takes them back, raising ValueError for what Ensue cannot build. `modules` maps our
    module names, `{}` standing for the layer, to theirs with `prefix`, which files may leave out. `ignored` are endings
    of stored buffers that hold nothing learned.
    """

    model_type: str
    architecture: str
    fits: Callable[[GPTConfig], bool]
    write: Callable[[GPTConfig], dict[str, Any]]
    read: Callable[[Mapping[str, Any]], GPTConfig]
    modules: Mapping[str, tuple[str, ...]]
    prefix: str = ""
    input_first: bool = False
    """Whether the blocks' matrices are stored (in, out), as y = xW + b has them, and not (out, in)."""
    ignored: tuple[str, ...] = ()

    def place(self, name: str) -> Place:
        """Where our parameter `name` lies."""
        module, _, leaf = name.rpartition(".")
        numbered = re.match(r"blocks\.(\d+)\.", module)
        layer = numbered[1] if numbered else ""
        template = module.replace(f"blocks.{layer}.", "blocks.{}.") if numbered else module
        names = tuple(f"{stored.format(layer)}.{leaf}" for stored in self.modules.get(template, (template,)))
        return Place(names, transposed=self.input_first and numbered is not None and leaf == "weight")


def read_keys(kind: type[Keys], data: Mapping[str, Any]) -> Keys:
    """The keys of `config.json` that the dataclass `kind` knows, typed; the many others there are leave no mark."""
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return from_dict(kind, {name: value for name, value in data.items() if name in known})


def sees_all(config: GPTConfig) -> bool:
    """Whether every layer is plain causal attention: dense, or banded with a window that no sequence outgrows."""
    return all(
        isinstance(pattern, Dense) or (isinstance(pattern, Banded) and pattern.window >= config.context)
        for pattern in config.patterns
    )


def mlp_width(width: int, hidden: int | None) -> int | None:
    """GPTConfig's `mlp_width` for a hidden layer: None where it is 4 x width, which goes without saying."""
    return None if hidden in (None, 4 * width) else hidden
