"""How a written answer is judged: exact match, F1 of words, BLEU by sacrebleu, ROUGE by rouge-score."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ensue.evaluate.answers import UNSPACED, exact, others, overlap
from ensue.evaluate.task import Item, Metric, Outcome, Question

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

Read = Callable[[str], str]
"""What of the written text is judged."""

BLEU_TOKENIZERS = {"zh": "zh", "ja": "char", "th": "char", "lo": "char", "km": "char", "my": "char"}
"""sacrebleu's tokenizers of languages without spaces, by language code; `13a` of all others."""

_WORD = re.compile(rf"{UNSPACED.pattern}|(?:(?!{UNSPACED.pattern})\w)+")


def same_text(*, name: str = "exact_match", read: Read = str.strip) -> Metric:
    """Whether the text is one of the answers as it stands, but for space around it."""
    return _best(lambda text, answer: float(text == answer.strip()), name, read)


def exact_match(*, name: str = "exact_match", read: Read = str.strip) -> Metric:
    """Whether the text is one of the answers, both normalised as `answers` says."""
    return _best(exact, name, read)


def f1(*, name: str = "f1", read: Read = str.strip) -> Metric:
    """F1 of the words that the text shares with the answer nearest to it; see `answers`."""
    return _best(overlap, name, read)


def against_others(score: Callable[[str, str], float], *, name: str, read: Read = str.strip) -> Metric:
    """CoQA's rule for several people's answers: the best score against all but one of them, the mean over who is left
    out, so that a model is measured as a person is (Reddy et al. 2019, section 6.1)."""

    def value(item: Item, outcome: Outcome) -> float:
        text, answers = _judged(item, outcome, read)
        groups = others(answers)
        return sum(max(score(text, answer) for answer in group) for group in groups) / len(groups)

    return Metric(name, value)


def bleu(language: str = "en", *, name: str = "bleu", read: Read = str.strip) -> Metric:
    """Corpus BLEU of 0 to 100, as sacrebleu gives it of all items' texts at once, with its defaults.

    `language` is the code of the one that is translated into and chooses the tokenizer. What an item gives are its
    counts and lengths, of whose sums the number is made, of resampled items as well.
    """
    tokenizer = BLEU_TOKENIZERS.get(language, "13a")

    def value(item: Item, outcome: Outcome) -> list[int]:
        text, answers = _judged(item, outcome, read)
        score = _bleu(tokenizer).corpus_score([text], [[answer.strip()] for answer in answers])
        return [*score.counts, *score.totals, score.sys_len, score.ref_len]

    return Metric(name, value, bleu_of)


def bleu_of(counts: Sequence[Sequence[int]]) -> float:
    """BLEU of the summed counts: four of n-grams found, four of n-grams written, two lengths."""
    sums = np.asarray(counts).sum(axis=0).tolist()
    order = (len(sums) - 2) // 2
    score = _bleu("13a").compute_bleu(
        sums[:order], sums[order : 2 * order], sums[-2], sums[-1], smooth_method="exp", max_ngram_order=order
    )
    return float(score.score)


def rouge(
    kinds: str | Sequence[str], language: str = "en", *, name: str | None = None, read: Read = str.strip
) -> Metric:
    """F1 of ROUGE, 0 to 100, as rouge-score gives it with stemming; of several kinds, their mean.

    `kinds` are rouge1, rouge2, rougeL or rougeLsum, whose sentences are lines. Of an item with several answers it is
    that of the best. The library's words are runs of a-z and 0-9, which is right for English alone; for any other
    `language` they are runs of letters and digits, and single characters of scripts without spaces, unstemmed.
    """
    several = (kinds,) if isinstance(kinds, str) else tuple(kinds)

    def value(item: Item, outcome: Outcome) -> float:
        text, answers = _judged(item, outcome, read)
        return max(rouge_score(text, answer, several, language) for answer in answers)

    return Metric(name or "_".join(several), value, mean_of)


def mean_of(values: Sequence[float]) -> float:
    """The mean of numbers that are no chances."""
    return float(np.mean(values))


def rouge_score(text: str, answer: str, kinds: Sequence[str], language: str = "en") -> float:
    """The mean F1 of these kinds of ROUGE, 0 to 100."""
    scores = _rouge(tuple(kinds), language == "en").score(answer.strip(), text)
    return 100 * sum(float(scores[kind].fmeasure) for kind in kinds) / len(kinds)


class UnicodeWords:
    """Words for rouge-score in any script: runs of letters and digits, single characters where there are no spaces."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in lower case."""
        return _WORD.findall(text.lower())


def _judged(item: Item, outcome: Outcome, read: Read) -> tuple[str, tuple[str, ...]]:
    assert isinstance(item, Question)
    assert outcome.text is not None
    return read(outcome.text), item.answers


def _best(score: Callable[[str, str], float], name: str, read: Read) -> Metric:
    def value(item: Item, outcome: Outcome) -> float:
        text, answers = _judged(item, outcome, read)
        return max(score(text, answer) for answer in answers)

    return Metric(name, value)


@cache
def _bleu(tokenizer: str) -> BLEU:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise ValueError("BLEU needs sacrebleu: pip install 'ensue[evaluate]'") from error
    return BLEU(tokenize=tokenizer)


@cache
def _rouge(kinds: tuple[str, ...], english: bool) -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ValueError("ROUGE needs rouge-score: pip install 'ensue[evaluate]'") from error
    return RougeScorer(list(kinds), use_stemmer=True, tokenizer=None if english else UnicodeWords())
