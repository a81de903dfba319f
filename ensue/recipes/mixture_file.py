"""mixture.json: which prepared data a mixture is made of, in which proportions, and what their tokens were."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensue.core.config import from_dict, to_dict
from ensue.core.files import folder_aside
from ensue.tokens.shards import Shard
from ensue.tokens.weights import Weight, sums_of

NAME, FORMAT = "mixture.json", 1
SLACK = 1e-6
"""How far from 1 a sum of weights may be."""


@dataclass(frozen=True)
class Source:
    """One of a mixture's sources: its name, where its data lies from the mixture's folder on, its weight, and the
    SHA-256 of its token files."""

    name: str
    data: str
    weight: Weight
    train: str
    held_out: str


@dataclass(frozen=True)
class Mixture:
    """All that mixture.json says; `tokenizer` is the fingerprint of the one that all sources share."""

    format: int
    tokenizer: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class DataPart:
    """The shards of one folder of prepared data: all there is, under the name "", or one source of a mixture."""

    name: str
    weight: Weight
    folder: Path
    train: Shard
    held_out: Shard


def is_mixture(path: Path) -> bool:
    """Whether `path` is a folder that `ensue corpus mix` made."""
    return (path / NAME).is_file()


def read_mixture(path: Path) -> Mixture:
    """What the mixture at `path` says. Raises ValueError for one that no Ensue has written, or whose weights no longer
    add up to 1."""
    try:
        mixture = from_dict(Mixture, json.loads((path / NAME).read_text(encoding="utf-8")))
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path / NAME} is damaged ({error}); mix again with `ensue corpus mix`.") from error
    if mixture.format != FORMAT:
        raise ValueError(f"{path / NAME} has format {mixture.format}, this Ensue reads {FORMAT}; mix again.")
    check_sums([source.weight for source in mixture.sources], f"in {path / NAME}")
    return mixture


def write_mixture_file(mixture: Mixture, out: Path) -> None:
    """Make the folder `out` with mixture.json in it."""
    with folder_aside(out) as aside:
        text = json.dumps(to_dict(mixture), indent=1, ensure_ascii=False)
        (aside / NAME).write_text(text + "\n", encoding="utf-8")


def open_sources(path: Path, mixture: Mixture) -> list[DataPart]:
    """The shards of a mixture that lies at `path`.

    Raises ValueError naming a source that is gone, or whose tokens are not those that were mixed.
    """
    return [_open(path, source, mixture.tokenizer) for source in mixture.sources]


def path_from(out: Path, data: Path) -> str:
    """How the mixture at `out` names `data`: by the way from one to the other, so that both can be moved together."""
    return os.path.relpath(data.resolve(), out.resolve())


def check_sums(weights: Sequence[Weight], where: str) -> None:
    """Raise ValueError where weights do not add up to 1 at some time of the run."""
    for share, total in sums_of(weights):
        if abs(total - 1) > SLACK:
            when = f" at {share:.0%} of the run" if any(len(weight.points) > 1 for weight in weights) else ""
            raise ValueError(
                f"the weights {where} add up to {total:.6g}{when}, not 1; change them, or type --normalise to have "
                "each divided by their sum."
            )


def _open(path: Path, source: Source, tokenizer: str) -> DataPart:
    folder = Path(os.path.normpath(path.resolve() / source.data))
    if not (folder / "data.json").is_file():
        raise ValueError(
            f"the source {source.name} of {path} is not at {folder}; put it back there, or mix again with "
            f"`ensue corpus mix`."
        )
    train, held_out = Shard.open(folder / "train"), Shard.open(folder / "held_out")
    now = (train.tokens_sha256, held_out.tokens_sha256)
    if now != (source.train, source.held_out) or train.fingerprint != tokenizer:
        raise ValueError(
            f"the source {source.name} of {path} was changed: {folder} does not hold the tokens that were mixed. Put "
            "them back, or mix again into a new folder with `ensue corpus mix`."
        )
    return DataPart(source.name, source.weight, folder, train, held_out)
