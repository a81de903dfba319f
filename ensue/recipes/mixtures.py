"""What `ensue corpus mix` does: prepared data under one roof by weights, without a copy; and how often each is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ensue.core.config import suggest
from ensue.recipes.data import Data, is_data, refuse_existing
from ensue.recipes.mixture_file import (
    FORMAT,
    DataPart,
    Mixture,
    Source,
    check_sums,
    is_mixture,
    path_from,
    write_mixture_file,
)
from ensue.tokens.mixture import Turns
from ensue.tokens.weights import Weight, sums_of

GPT3 = {"common-crawl": 0.60, "webtext2": 0.22, "books1": 0.08, "books2": 0.08, "wikipedia": 0.03}
"""GPT-3 (2020), table 2.2, as printed: rounded, and 101% in all."""

PRESETS: Mapping[str, Mapping[str, float]] = {"gpt3": GPT3}


@dataclass(frozen=True)
class Share:
    """What a mixture takes of one source: its size, its mean share of the sequences, and how often it is read."""

    name: str
    documents: int
    tokens: int
    weight: Weight
    epochs: float


def mix(specifications: Sequence[str], out: Path, *, preset: str | None, normalise: bool) -> Data:
    """Write a mixture of prepared data to `out`.

    specifications  NAME=DATA:WEIGHT each, or NAME=DATA with a preset; see `read_weight` for WEIGHT
    normalise       divide the weights by their sum; a preset's own rounding is always evened out

    Raises ValueError for weights that do not add up to 1, sources with different tokenizers, or a source that is no
    prepared data, saying what to type.
    """
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"there is no preset of weights {preset!r}{suggest(preset, PRESETS)}")
    refuse_existing(out)
    wanted = [_specification(text, preset) for text in specifications]
    names = [name for name, _, _ in wanted]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"a mixture is made of two sources or more, each under a name of its own, not of {names}; type: "
            "ensue corpus mix books=data/books:0.3 web=data/web:0.7 --out MIX"
        )
    weights = [weight for _, _, weight in wanted]
    if normalise or (preset is not None and set(names) == set(PRESETS[preset])):
        weights = _normalised(weights)
    check_sums(weights, "given")
    opened = [_opened(name, folder) for name, folder, _ in wanted]
    _check_tokenizers(names, opened)
    sources = [
        Source(name, path_from(out, data.path), weight, *_digests(data))
        for name, data, weight in zip(names, opened, weights, strict=True)
    ]
    write_mixture_file(Mixture(FORMAT, opened[0].tokenizer.fingerprint, tuple(sources)), out)
    return Data(out)


def read_weight(text: str) -> Weight:
    """`0.3`; or `0.1->0.5`, from the run's beginning to its end; or `0.1->0.1@0.8->0.5`, with a point at 0.8 of it.

    Raises ValueError for anything else.
    """
    pieces = text.split("->")
    points = []
    for place, piece in enumerate(pieces):
        weight, at, share = piece.partition("@")
        otherwise = {len(pieces) - 1: 1.0, 0: 0.0}.get(place)
        try:
            points.append((float(share) if at else otherwise or 0.0, float(weight)))
            if otherwise is None and not at:
                raise ValueError("a point between the first and the last says where it is, such as 0.2@0.5")
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no weight ({error}); type a number such as 0.3, or in quotes, for one that changes over "
                "the run: 'books=data/books:0.1->0.5'"
            ) from error
    return Weight(tuple(points))


def shares_of(data: Data, sequences: int, context: int, seed: int) -> list[Share]:
    """What a run of so many sequences reads of each source."""
    weights = [part.weight for part in data.parts]
    counts = Turns(weights, length=sequences, seed=seed).counts(sequences)
    return [_share(part, count * context) for part, count in zip(data.parts, counts.tolist(), strict=True)]


def show_shares(shares: Sequence[Share], tokens: int) -> str:
    """A table like GPT-3's 2.2: tokens, weight, and epochs while so many tokens are trained on."""
    head = ("source", "documents", "tokens", "weight", f"epochs in {tokens:,} tokens")
    rows = [
        (share.name, f"{share.documents:,}", f"{share.tokens:,}", _say(share.weight), f"{share.epochs:.2f}")
        for share in shares
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) if not place else cell.rjust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in [head, *rows])
    )


def show_mixture(path: Path, *, as_json: bool) -> str:
    """What `ensue info` says of a mixture: the table above for as many tokens as there are in all sources together."""
    data = Data(path)
    tokens = data.facts.train_tokens
    shares = [_share(part, part.weight.mean * tokens) for part in data.parts]
    if as_json:
        sources = [
            {
                "name": share.name,
                "documents": share.documents,
                "tokens": share.tokens,
                "weight": share.weight.mean,
                "points": share.weight.points,
                "epochs": share.epochs,
            }
            for share in shares
        ]
        return json.dumps({"tokens": tokens, "sources": sources}, ensure_ascii=False)
    return show_shares(shares, tokens)


def _share(part: DataPart, read: float) -> Share:
    """What a mixture takes of a part of which so many tokens are read."""
    size = len(part.train.tokens)
    return Share(part.name, part.train.count, size, part.weight, read / size)


def _specification(text: str, preset: str | None) -> tuple[str, Path, Weight]:
    name, equals, rest = text.partition("=")
    if not equals or not name or not rest:
        raise ValueError(f"{text!r} is no source; type NAME=DATA:WEIGHT, such as books=data/books:0.3")
    if preset is not None:
        known = PRESETS[preset]
        if name not in known:
            raise ValueError(f"the preset {preset} has no source {name!r}{suggest(name, known)}")
        return name, Path(rest), Weight.constant(known[name])
    folder, colon, weight = rest.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no weight; type it behind a colon, such as {name}={rest}:0.3")
    return name, Path(folder), read_weight(weight)


def _normalised(weights: Sequence[Weight]) -> list[Weight]:
    """The weights over their sum, at every point at which any of them has one."""
    sums = sums_of(weights)
    if min(total for _, total in sums) <= 0:
        raise ValueError("at some time of the run all weights are 0; give one of them more.")
    if len({len(weight.points) for weight in weights}) == 1 and len(weights[0].points) == 1:
        return [weight.times(1 / sums[0][1]) for weight in weights]
    return [Weight(tuple((share, weight.at(share) / total) for share, total in sums)) for weight in weights]


def _opened(name: str, folder: Path) -> Data:
    if not is_data(folder) or is_mixture(folder):
        what = "a mixture itself" if is_mixture(folder) else "not prepared data"
        raise ValueError(f"{name}: {folder} is {what}; make such data with: ensue prepare TEXT --out {folder}")
    return Data(folder)


def _check_tokenizers(names: Sequence[str], opened: Sequence[Data]) -> None:
    first = opened[0]
    for name, data in zip(names, opened, strict=True):
        if data.tokenizer.fingerprint != first.tokenizer.fingerprint:
            raise ValueError(
                f"{name} was made with another tokenizer than {names[0]}, so their tokens cannot be mixed; prepare it "
                f"with the same one: ensue prepare TEXT --out DATA --tokenizer {first.path / 'tokenizer'}"
            )


def _digests(data: Data) -> tuple[str, str]:
    (part,) = data.parts
    return part.train.tokens_sha256, part.held_out.tokens_sha256


def _say(weight: Weight) -> str:
    if len(weight.points) == 1:
        return f"{weight.mean:.1%}"
    return " -> ".join(f"{value:.1%}" for _, value in weight.points)
