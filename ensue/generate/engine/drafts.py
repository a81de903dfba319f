"""Guesses at what comes next, which one pass of the large model then judges all at once.

Every token is still chosen from the large model's own distribution, with the draw it would have had anyway; a guess
that differs from what is chosen is dropped with all behind it. So the text is the same with and without drafts
(Leviathan et al. 2023 accept with min(1, p/q); for a guess that is certain, q = 1, this is that rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Drafter(Protocol):
    """Guesses the next tokens of some texts."""

    def guess(self, texts: Sequence[Sequence[int]], most: Sequence[int]) -> list[list[int]]:
        """At most `most[i]` tokens that may come after `texts[i]`; none is an answer too."""


class PromptLookup:
    """What came after the text's last tokens the last time they were there (Saxena 2023).

    It costs nothing, and pays where a text repeats itself: answers that quote, code, lists.
    """

    def __init__(self, *, longest: int = 4, shortest: int = 2, most: int = 8) -> None:
        """Runs of `longest` tokens are looked for first, then shorter ones, down to `shortest`."""
        self.longest, self.shortest, self.most = longest, shortest, most

    def guess(self, texts: Sequence[Sequence[int]], most: Sequence[int]) -> list[list[int]]:
        return [self._after(text, min(limit, self.most)) for text, limit in zip(texts, most, strict=True)]

    def _after(self, text: Sequence[int], most: int) -> list[int]:
        text = list(text)
        for length in range(self.longest, self.shortest - 1, -1):
            if most < 1 or len(text) <= length:
                continue
            last = text[-length:]
            for start in range(len(text) - length - 1, -1, -1):
                if text[start : start + length] == last:
                    return text[start + length : start + length + most]
        return []
