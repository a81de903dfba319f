"""What a model computed on a text, read through taps: where each head looks, and what each layer would say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ensue.generate.forward import reading
from ensue.generate.lm import LM
from ensue.studio.token_texts import label_of

if TYPE_CHECKING:
    from torch import Tensor

# Legend: T tokens of the text, P places shown, H heads, W width, V vocabulary.

MOST_PLACES = 48
"""Places that are shown, the last of the text."""

LENS_TOKENS = 5
"""Tokens that are told of each layer and place."""


@dataclass(frozen=True)
class LensCell:
    """What a layer would say comes next at a place: its likeliest tokens with their probabilities."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Inside:
    """A text as it went through a model.

    labels    of the P tokens that are shown; `first` is the place of the first of them
    lens      for the embedding and each layer, bottom to top, P cells (the logit lens: nostalgebraist 2020)
    distance  for each layer, of each head, how many tokens it looks back on average over all of the text
    """

    labels: tuple[str, ...]
    first: int
    lens: tuple[tuple[LensCell, ...], ...]
    distance: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Attention:
    """Where one head looks: for each of P places, the weights on them, and in `before` on all that came earlier."""

    weights: tuple[tuple[float, ...], ...]
    before: tuple[float, ...]


def look_inside(lm: LM, tokens: Sequence[int]) -> Inside:
    """Run a text through the model once. It must have a token, and no more than the context."""
    model = lm.model
    first = max(0, len(tokens) - MOST_PLACES)
    states: dict[str, Tensor] = {}
    distance: list[tuple[float, ...]] = []

    def tap(name: str, tensor: Tensor) -> Tensor:
        if name == "embedding" or (name.startswith("blocks.") and name.count(".") == 2 and name.endswith(".output")):
            states[name] = tensor[0, first:]  # (P, W)
        elif name.endswith(".attention.probabilities"):
            distance.append(_distances(tensor[0]))
        return tensor

    with reading(model):
        model.hidden(_tensor(lm, tokens), taps=tap)
        names = ["embedding", *(f"blocks.{layer}.output" for layer in range(lm.config.layers))]
        lens = tuple(_cells(lm, states[name]) for name in names)
    labels = tuple(label_of(lm.tokenizer, token) for token in tokens[first:])
    return Inside(labels, first, lens, tuple(distance))


def attention_of(lm: LM, tokens: Sequence[int], *, layer: int, head: int) -> Attention:
    """The pattern of one head, layer and head counted from 0."""
    first = max(0, len(tokens) - MOST_PLACES)
    found: list[Tensor] = []

    def tap(name: str, tensor: Tensor) -> Tensor:
        if name == f"blocks.{layer}.attention.probabilities":
            found.append(tensor[0, head, first:].float())  # (P, T)
        return tensor

    with reading(lm.model):
        lm.model.hidden(_tensor(lm, tokens), taps=tap)
    (weights,) = found
    before = weights[:, :first].sum(-1).tolist()
    return Attention(tuple(map(tuple, weights[:, first:].tolist())), tuple(before))


def _cells(lm: LM, states: Tensor) -> tuple[LensCell, ...]:
    """What (P, W) states would say if they were the last layer's."""
    model = lm.model
    states = states if model.final_norm is None else model.final_norm(states)
    size = lm.tokenizer.vocab_size
    likely = model.logits(states)[:, :size].float().softmax(-1).topk(min(LENS_TOKENS, size))
    return tuple(
        LensCell(tuple(label_of(lm.tokenizer, token) for token in ids), tuple(probabilities))
        for ids, probabilities in zip(likely.indices.tolist(), likely.values.tolist(), strict=True)
    )


def _distances(probabilities: Tensor) -> tuple[float, ...]:
    """How far each head of (H, T, T) weights looks back, over all places."""
    import torch

    places = torch.arange(probabilities.shape[-1], device=probabilities.device)
    back = (places[:, None] - places[None, :]).clamp(min=0).to(probabilities.dtype)
    found: list[float] = (probabilities * back).sum(-1).mean(-1).tolist()
    return tuple(found)


def _tensor(lm: LM, tokens: Sequence[int]) -> Tensor:
    import torch

    return torch.tensor([list(tokens)], dtype=torch.long, device=lm.model.token_embedding.weight.device)
