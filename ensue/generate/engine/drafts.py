"""Guesses at what comes next, which one pass of the large model then judges all at once.

Every token is still chosen from the large model's own distribution, with the draw it would have had anyway; a guess
that differs from what is chosen is dropped with all behind it. So the text is the same with and without drafts
(Leviathan et al. 2023 accept with min(1, p/q); for a guess that is certain, q = 1, this is that rule).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ensue.generate.engine.requests import Request

if TYPE_CHECKING:
    from ensue.generate.engine.engine import Engine


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
        if most < 1:
            return []
        packed = array("i", text)
        for length in range(min(self.longest, len(text) - 1), self.shortest - 1, -1):
            start = _last_before(packed, length)
            if start is not None:
                return list(text[start + length : start + length + most])
        return []


def _last_before(text: array[int], length: int) -> int | None:
    """Where the last `length` tokens of a text stood the last time before; None where they never did."""
    data, size = text.tobytes(), text.itemsize
    end = len(data) - size
    while (found := data.rfind(data[len(data) - length * size :], 0, end)) >= 0:
        if found % size == 0:
            return found // size
        end = found + length * size - 1  # it began inside a token
    return None


class DraftModel:
    """What a small model with the same tokenizer would write.

    It has an engine of its own, whose pages hold what it has read of each text, but for the last few tokens.
    """

    def __init__(self, engine: Engine, *, most: int = 4) -> None:
        self.engine, self.most = engine, most

    def guess(self, texts: Sequence[Sequence[int]], most: Sequence[int]) -> list[list[int]]:
        room = self.engine.passes.config.context
        limits = [min(limit, self.most, room - len(text)) for text, limit in zip(texts, most, strict=True)]
        asked = [place for place, limit in enumerate(limits) if limit > 0]
        written = self.engine.run([Request(tuple(texts[place]), most=limits[place], scored=False) for place in asked])
        guesses: list[list[int]] = [[] for _ in texts]
        for place, told in zip(asked, written, strict=True):
            guesses[place] = [each.token for each in told]
        return guesses
