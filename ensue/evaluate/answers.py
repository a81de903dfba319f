"""Answers as they are compared: the normalisation of SQuAD (Rajpurkar et al. 2016), which CoQA and others share.

Lower case, without ASCII punctuation and the articles a, an, the, and with single spaces. Where a script puts no spaces
between words, each of its characters counts as a word, as the Chinese and multilingual successors of SQuAD do, and its
punctuation goes as well. English texts give exactly what the original rules give.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ASCII = str.maketrans("", "", string.punctuation)
_WIDE = str.maketrans("", "", "。，、；：？！．「」『』（）《》〈〉【】〔〕・～“”‘’…—·။៕។ฯ")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U000323af]"
)
"""A character of a script without spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters."""
_WORD = re.compile(rf"{UNSPACED.pattern}|(?:(?!{UNSPACED.pattern})\S)+")


def normalised(text: str) -> str:
    """An answer without what makes no difference."""
    plain = text.lower().translate(_ASCII)
    if UNSPACED.search(plain):
        plain = plain.translate(_WIDE)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def answer_words(text: str) -> list[str]:
    """The words of a normalised answer; of scripts without spaces, its characters."""
    return _WORD.findall(normalised(text))


def exact(answer: str, right: str) -> float:
    """Whether two answers are the same, 0 or 1."""
    return float(normalised(answer) == normalised(right))


def overlap(answer: str, right: str) -> float:
    """F1 of the words two answers share, each as often as both have it; where one has none, whether both do."""
    found, wanted = answer_words(answer), answer_words(right)
    if not found or not wanted:
        return float(found == wanted)
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted))


def others(answers: Sequence[str]) -> list[list[str]]:
    """For each of several people's answers, those of the others; all of them where there is only one."""
    if len(answers) == 1:
        return [list(answers)]
    return [[*answers[:place], *answers[place + 1 :]] for place in range(len(answers))]
