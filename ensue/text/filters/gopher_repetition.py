"""The repetition rules of MassiveText: Rae et al. 2021, table A1."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ensue.text.curation.step import Judge, Verdict, drop, keep
from ensue.text.document import Document
from ensue.text.filters.lines import lines_of, repeated
from ensue.text.filters.repeats import Repeats
from ensue.text.filters.words import LOOKED_AT, cut_words

_BLANK_LINES = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class GopherRepetition:
    """Drop documents that say the same again and again. The numbers are those of Rae et al. 2021, table A1.

    lines, paragraphs            at most this share of lines (paragraphs) was there before, word for word
    line_characters, paragraph_characters
                                 at most this share of characters is in them
    top                          (n, share): at most this share of characters is in the n-gram that covers most
    repeated                     (n, share): at most this share of characters is in n-grams that were there before

    Characters are those of words, without spaces, and none is counted twice where n-grams overlap. The first time that
    something is said does not count. n is in words; where words are not spaced, in characters of as many estimated
    words (1.5 a Chinese one), rounded up. Paragraphs are what stands between blank lines. Only the first two
    million characters are looked at.
    """

    lines: float = 0.30
    paragraphs: float = 0.30
    line_characters: float = 0.20
    paragraph_characters: float = 0.20
    top: tuple[tuple[int, float], ...] = ((2, 0.20), (3, 0.18), (4, 0.16))
    repeated: tuple[tuple[int, float], ...] = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))

    def prepare(self) -> Judge:
        """The judge of these rules."""
        return self._judge

    def _judge(self, document: Document) -> Verdict:
        text = document.text[:LOOKED_AT].strip()
        share, characters = repeated(lines_of(text))
        if share > self.lines:
            return drop("repeated lines", share=_rounded(share))
        if characters > self.line_characters:
            return drop("characters in repeated lines", share=_rounded(characters))
        share, characters = repeated([part.strip() for part in _BLANK_LINES.split(text)])
        if share > self.paragraphs:
            return drop("repeated paragraphs", share=_rounded(share))
        if characters > self.paragraph_characters:
            return drop("characters in repeated paragraphs", share=_rounded(characters))
        return self._judge_words(document)

    def _judge_words(self, document: Document) -> Verdict:
        words = cut_words(document.text)
        repeats = Repeats(words.pieces)
        for n, most in self.top:
            if (share := repeats.top(_pieces(n, words.pieces_a_word))) > most:
                return drop(f"one {n}-gram again and again", share=_rounded(share))
        most_of_all = 0.0
        for n, most in self.repeated:
            if (share := repeats.again(_pieces(n, words.pieces_a_word))) > most:
                return drop(f"repeated {n}-grams", share=_rounded(share))
            most_of_all = max(most_of_all, share)
        return keep(document, repeated=_rounded(most_of_all))


def _pieces(n: int, pieces_a_word: float) -> int:
    return -int(-n * pieces_a_word // 1)


def _rounded(value: float) -> float:
    return round(value, 4)
