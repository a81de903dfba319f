"""The quality rules of MassiveText: Rae et al. 2021, appendix A.1.1."""

from __future__ import annotations

from dataclasses import dataclass

from ensue.text.curation.step import Judge, Verdict, drop, keep
from ensue.text.document import Document
from ensue.text.filters.lines import ELLIPSES, lines_of
from ensue.text.filters.stop_words import count_stop_words, stop_words_for
from ensue.text.filters.words import Words, cut_words

BULLETS = ("•", "‣", "◦", "●", "▪", "■", "·", "-", "*", "–")
HANGUL_LETTERS = 2.5
"""Letters in a Korean syllable, which is one character: two or three."""


@dataclass(frozen=True)
class GopherQuality:
    """Drop documents that do not look like prose. The numbers are those of Rae et al. 2021, appendix A.1.1.

    least_words, most_words    words in the document, estimated from characters where a script has no spaces
    word_length                lowest and highest mean length of a word; skipped where most words are not spaced. A
                               Korean syllable counts as two and a half letters
    symbols_a_word             at most so many hash signs a word, and so many ellipses
    bullet_lines               at most this share of lines that begin with a bullet
    ellipsis_lines             at most this share of lines that end with an ellipsis
    alphabetic_words           at least this share of words has a letter; of characters, where words are not spaced
    stop_words, of             at least so many different ones of a list: `of` if it is given, else the list for
                               meta["language"] (a language without one skips the rule), else whichever list fits best

    Words are those of the first two million characters.
    """

    least_words: int = 50
    most_words: int = 100_000
    word_length: tuple[float, float] = (3.0, 10.0)
    symbols_a_word: float = 0.1
    bullet_lines: float = 0.9
    ellipsis_lines: float = 0.3
    alphabetic_words: float = 0.8
    stop_words: int = 2
    of: tuple[str, ...] = ()

    def prepare(self) -> Judge:
        """The judge of these rules."""
        return self._judge

    def _judge(self, document: Document) -> Verdict:
        text = document.text
        words = cut_words(text)
        count = words.count
        if count < self.least_words:
            return drop("too few words", words=count)
        if count > self.most_words:
            return drop("too many words", words=count)
        if not words.unspaced:
            length = _mean_length(words)
            if length < self.word_length[0]:
                return drop("words too short on average", word_length=_rounded(length))
            if length > self.word_length[1]:
                return drop("words too long on average", word_length=_rounded(length))
        hashes = text.count("#") / max(count, 1)
        if hashes > self.symbols_a_word:
            return drop("too many hash signs", hashes_a_word=_rounded(hashes))
        ellipses = (text.count("...") + text.count("…")) / max(count, 1)
        if ellipses > self.symbols_a_word:
            return drop("too many ellipses", ellipses_a_word=_rounded(ellipses))
        return self._judge_lines(document) or self._judge_words(document, words)

    def _judge_lines(self, document: Document) -> Verdict | None:
        lines = lines_of(document.text)
        bullets = sum(line.startswith(BULLETS) for line in lines) / max(len(lines), 1)
        if bullets > self.bullet_lines:
            return drop("a list of bullets", bullet_lines=_rounded(bullets))
        ellipses = sum(line.endswith(ELLIPSES) for line in lines) / max(len(lines), 1)
        if ellipses > self.ellipsis_lines:
            return drop("lines that break off", ellipsis_lines=_rounded(ellipses))
        return None

    def _judge_words(self, document: Document, words: Words) -> Verdict:
        alphabetic = sum(map(_has_letter, words.pieces)) / max(len(words.pieces), 1)
        if alphabetic < self.alphabetic_words:
            return drop("too few words with letters", alphabetic_words=_rounded(alphabetic))
        lists = stop_words_for(document.meta.get("language", ""), self.of)
        if self.stop_words and lists:
            found = count_stop_words(document.text, words, lists)
            if found < self.stop_words:
                return drop("too few stop words", stop_words=found)
        return keep(document, words=words.count, alphabetic_words=_rounded(alphabetic))


def _has_letter(word: str) -> bool:
    return word.isalpha() or any(map(str.isalpha, word))


def _mean_length(words: Words) -> float:
    joined = "".join(words.pieces)
    hangul = 0 if joined.isascii() else sum("\uac00" <= character <= "\ud7a3" for character in joined)
    return (len(joined) + (HANGUL_LETTERS - 1) * hangul) / max(len(words.pieces), 1)


def _rounded(value: float) -> float:
    return round(value, 4)
