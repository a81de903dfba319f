"""Perplexity and bits per unit of the original text: the likelihood of a whole set over what it is counted in.

GPT-2 (2019), section 3.1: the log-probability of a set under the model, divided by the number of its canonical units,
whatever tokens the model reads. What an item gives is a pair of nats and units; the number is of their sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ensue.evaluate.task import Item, Metric, Outcome, Passage

Units = Callable[[str], int]
"""How many units an original text has."""

Pair = tuple[float, int]
"""ln p and units."""


def words(text: str) -> int:
    """What stands between spaces and line ends. Not for scripts without spaces: count `characters` there."""
    return len(text.split())


def words_and_line_ends(text: str) -> int:
    """Words, and one more at the end of each line: what the figures published for tokenised sets are over."""
    return words(text) + text.count("\n")


def characters(text: str) -> int:
    """Unicode characters."""
    return len(text)


def utf8_bytes(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text.encode())


def perplexity(units: Units, *, name: str = "perplexity") -> Metric:
    """exp(-ln p / units) of Passages, over all items together."""
    return Metric(name, _pairs(units), perplexity_of, higher_is_better=False)


def target_perplexity(*, name: str = "perplexity") -> Metric:
    """exp(-ln p / items) of Targets: each counts once, however many tokens it has."""
    return Metric(name, lambda item, outcome: (outcome.scores[0].nats, 1), perplexity_of, higher_is_better=False)


def bits(units: Units, *, name: str) -> Metric:
    """-log2 p / units of Passages, over all items together, such as bits per byte."""
    return Metric(name, _pairs(units), lambda pairs: -_ratio(pairs) / math.log(2), higher_is_better=False)


def token_perplexity(*, name: str = "token_perplexity") -> Metric:
    """exp(-ln p / tokens): depends on the tokenizer, and compares only models that share it."""

    def value(item: Item, outcome: Outcome) -> Pair:
        (scored,) = outcome.scores
        return scored.nats, len(scored.token_nats)

    return Metric(name, value, perplexity_of, higher_is_better=False)


def foretold(*, name: str = "accuracy") -> Metric:
    """Whether every token of a Target was the likeliest there."""
    return Metric(name, lambda item, outcome: float(outcome.scores[0].greedy))


def perplexity_of(pairs: Sequence[Pair]) -> float:
    """exp(-sum of nats / sum of units), infinite where that is too much for a number."""
    exponent = -_ratio(pairs)
    return math.exp(exponent) if exponent < 700 else math.inf


def _ratio(pairs: Sequence[Pair]) -> float:
    nats, units = np.asarray(pairs, dtype=np.float64).sum(axis=0)
    return float(nats / units)


def _pairs(units: Units) -> Callable[[Item, Outcome], Pair]:
    def value(item: Item, outcome: Outcome) -> Pair:
        assert isinstance(item, Passage)
        (scored,) = outcome.scores
        return scored.nats, units(item.original)

    return value
