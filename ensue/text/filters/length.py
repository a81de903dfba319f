"""Documents that are too short or too long."""

from __future__ import annotations

from dataclasses import dataclass

from ensue.text.curation.step import Judge, Verdict, drop, keep
from ensue.text.document import Document


@dataclass(frozen=True)
class Length:
    """Keep documents of `least_characters` to `most_characters`, both included; None sets no upper limit.

    Characters are code points, so a limit means about three times as much text in Chinese as in English.
    """

    least_characters: int = 200
    most_characters: int | None = None

    def __post_init__(self) -> None:
        if self.most_characters is not None and self.most_characters < max(self.least_characters, 1):
            raise ValueError(
                f"most_characters={self.most_characters} is less than least_characters={self.least_characters}, "
                "so nothing would be kept; raise it, or say None for no limit."
            )

    def prepare(self) -> Judge:
        """The judge of lengths."""
        return self._judge

    def _judge(self, document: Document) -> Verdict:
        characters = len(document.text)
        if characters < self.least_characters:
            return drop("too short", characters=characters)
        if self.most_characters is not None and characters > self.most_characters:
            return drop("too long", characters=characters)
        return keep(document, characters=characters)
