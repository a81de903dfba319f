"""DROP's exact match and F1 of numbers and spans (Dua et al. 2019, section 5, and the scorer published with it)."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def drop_exact(text: str, spans: Sequence[str]) -> float:
    """Whether a text is the only span, normalised word by word."""
    return float(len(spans) == 1 and _plain(text) == _plain(spans[0]))


def drop_f1(text: str, spans: Sequence[str]) -> float:
    """F1 of a text as one span against one or several, to two digits as published.

    The span that it fits best counts, over the number of spans. Where one has numbers and the text shares none of them,
    the text does not fit.
    """
    words = set(_plain(text).split())
    best = max(_fit(words, set(_plain(span).split())) for span in spans)
    return round(best / len(spans), 2)


def _fit(found: set[str], wanted: set[str]) -> float:
    numbers = {word for word in wanted if _is_number(word)}
    if numbers and not numbers & found:
        return 0.0
    shared = len(found & wanted)
    precision = shared / len(found) if found else 1.0
    recall = shared / len(wanted) if wanted else 1.0
    return 2 * precision * recall / (precision + recall) if precision and recall else 0.0


def _plain(text: str) -> str:
    words = (_plain_word(word) for word in re.split(r"[ -]", text))
    return " ".join(word for word in words if word.strip()).strip()


def _plain_word(word: str) -> str:
    word = word.lower()
    word = word if _is_number(word) else word.translate(_PUNCTUATION)
    word = str(float(word)) if _is_number(word) else word
    return " ".join(_ARTICLES.sub(" ", word).split())


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
