"""How pleasant the words are that a model uses of each group (GPT-3 2020, section 6.2.2).

The paper weighs words by SentiWordNet; here they are weighed by VADER's lexicon (Hutto and Gilbert 2014), which comes
as a package. Both are rough: a word counts the same wherever it stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SCALE = 25
"""VADER's scores go from -4 to 4, the paper's from -100 to 100."""


@dataclass(frozen=True)
class Sentiment:
    """The mean over the words with a sentiment, from -100 to 100, its standard error, and how many they were."""

    mean: float | None
    error: float | None
    words: int


def sentiment_of(counts: Mapping[str, int]) -> Sentiment:
    """The sentiment of the words of a group, each as often as it was used."""
    lexicon = _lexicon()
    known = {word: count for word, count in counts.items() if word in lexicon}
    values = np.repeat([SCALE * lexicon[word] for word in known], list(known.values()))
    if len(values) < 2:
        return Sentiment(None, None, len(values))
    return Sentiment(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), len(values))


def sentiments(counts: Mapping[str, Counter[str]]) -> dict[str, Sentiment]:
    """The sentiment of each group's words."""
    return {name: sentiment_of(of_one) for name, of_one in counts.items()}


@lru_cache(maxsize=1)
def _lexicon() -> dict[str, float]:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError as error:
        raise ValueError("probes of sentiment need a word list; type: pip install 'ensue[evaluate]'") from error
    lexicon: dict[str, float] = SentimentIntensityAnalyzer().lexicon
    return {word: value for word, value in lexicon.items() if word.isalpha()}
