"""The three rules that FineWeb found worth adding to C4's: Penedo et al. 2024, section 3.6."""

from __future__ import annotations

from dataclasses import dataclass

from ensue.text.curation.step import Judge, Verdict, drop, keep
from ensue.text.document import Document
from ensue.text.filters.lines import ends_sentence, lines_of, repeated, width
from ensue.text.filters.words import cut_words


@dataclass(frozen=True)
class FineWebRules:
    """Drop what looks like a list. The numbers are those of Penedo et al. 2024, section 3.6.

    punctuated      drop if this share of lines or less ends with a mark; skipped for Thai and Lao, which have none
    duplicated      drop if this share of characters or more is in lines that were there before
    short           drop if this share of lines or more is shorter than `short_line`
    short_line      characters; one of a script without spaces counts as three
    """

    punctuated: float = 0.12
    duplicated: float = 0.1
    short: float = 0.67
    short_line: int = 30

    def prepare(self) -> Judge:
        """The judge of these rules."""
        return self._judge

    def _judge(self, document: Document) -> Verdict:
        lines = lines_of(document.text)
        if not lines:
            return drop("no lines")
        punctuated = round(sum(map(ends_sentence, lines)) / len(lines), 4)
        if punctuated <= self.punctuated and cut_words(document.text).marked:
            return drop("few lines end with punctuation", punctuated=punctuated)
        duplicated = round(repeated(lines)[1], 4)
        if duplicated >= self.duplicated:
            return drop("characters in duplicated lines", duplicated=duplicated)
        short = round(sum(width(line) < self.short_line for line in lines) / len(lines), 4)
        if short >= self.short:
            return drop("mostly short lines", short=short)
        return keep(document, punctuated=punctuated, duplicated=duplicated, short=short)
