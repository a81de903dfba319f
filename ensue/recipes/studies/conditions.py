"""What GPT's fine-tuning ablation varies (2018, table 5 and figure 2), and BERT's objective beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AUXILIARY = 0.5
"""GPT (2018), section 4.1: lambda."""


@dataclass(frozen=True)
class Condition:
    """One way to come to a tuned model: from which weights, with how many of its layers (all unless said), and with
    which share of the language model's loss. `name` is for files, `words` for people."""

    name: str
    words: str
    start: Literal["gpt", "bert", "nothing"]
    layers: int | None = None
    auxiliary: float = AUXILIARY


FULL = Condition("full", "GPT, as its paper tunes it", "gpt")
NO_AUXILIARY = Condition("no-auxiliary", "without the auxiliary loss", "gpt", auxiliary=0.0)
NO_PRETRAINING = Condition("no-pretraining", "without pre-training", "nothing")
BERT = Condition("bert", "BERT's objective (no auxiliary loss)", "bert", auxiliary=0.0)


def transferred(layers: int, of: int) -> Condition:
    """GPT's embeddings and so many of its layers."""
    words = "embeddings alone transferred" if layers == 0 else f"embeddings and {layers} of {of} layers transferred"
    return Condition(f"layers-{layers}", words, "gpt", layers=layers)


def conditions(layers: int) -> tuple[Condition, ...]:
    """All conditions for a model of so many layers; of the transferred ones, all `layers` of them are `FULL`."""
    return (FULL, NO_AUXILIARY, NO_PRETRAINING, *(transferred(count, layers) for count in range(layers)), BERT)


def comparisons(layers: int) -> tuple[tuple[Condition, Condition], ...]:
    """Which two are compared on the same test items: what the second lacks, or does otherwise, is what is asked."""
    return (
        (FULL, NO_PRETRAINING),
        (FULL, NO_AUXILIARY),
        (NO_AUXILIARY, BERT),
        (FULL, BERT),
        (BERT, NO_PRETRAINING),
        *((FULL, transferred(count, layers)) for count in range(layers)),
    )
