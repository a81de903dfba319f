"""What counts as a word, in scripts with and without spaces: the one function every rule about words goes through."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ensue.text.filters.scripts import (
    CHARACTERS_A_LONG_WORD,
    CHARACTERS_A_SHORT_WORD,
    LONG_WORDS,
    SHORT_WORDS,
    UNMARKED,
    letters_of,
)

_SHORT = re.compile(f"[{letters_of(SHORT_WORDS)}]")
_LONG = re.compile(f"[{letters_of(LONG_WORDS)}]")
_UNMARKED = re.compile(f"[{letters_of(UNMARKED)}]")
_UNSPACED = letters_of(SHORT_WORDS + LONG_WORDS)
_PIECES = re.compile(rf"[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+")


LOOKED_AT = 2_000_000
"""Characters from a text's beginning that rules about its words look at; more would cost memory and tell little."""


@dataclass(frozen=True)
class Words:
    """A text cut into words.

    pieces  in order: what stands between spaces; of a script without spaces, single characters, each with the marks and
            the punctuation that follow it
    short   pieces that are characters of Chinese or Japanese
    long    pieces that are characters of Thai, Lao, Khmer, Burmese, Tibetan and the like
    marked  whether its sentences end with a mark; Thai and Lao ones do not
    """

    pieces: list[str]
    short: int = 0
    long: int = 0
    marked: bool = True

    @property
    def count(self) -> int:
        """How many words: those between spaces, and an estimate of the rest from its characters, 1.5 or 3 a word."""
        spaced = len(self.pieces) - self.short - self.long
        return spaced + round(self.short / CHARACTERS_A_SHORT_WORD + self.long / CHARACTERS_A_LONG_WORD)

    @property
    def unspaced(self) -> bool:
        """Whether most of the pieces are characters of scripts without spaces, so that word lengths say nothing."""
        return 2 * (self.short + self.long) > len(self.pieces)

    @property
    def pieces_a_word(self) -> float:
        """Pieces that make a word: 1 where words are spaced."""
        return len(self.pieces) / self.count if self.unspaced and self.count else 1.0


def cut_words(text: str) -> Words:
    """The words of `text`, of its first `LOOKED_AT` characters. In scripts with spaces it costs little more than
    `str.split`."""
    text = text[:LOOKED_AT]
    if text.isascii():
        return Words(text.split())
    short, long = len(_SHORT.findall(text)), len(_LONG.findall(text))
    if not short and not long:
        return Words(text.split())
    pieces = _PIECES.findall(text)
    unmarked = len(_UNMARKED.findall(text)) if long else 0
    return Words(pieces, short, long, marked=2 * unmarked <= len(pieces))
