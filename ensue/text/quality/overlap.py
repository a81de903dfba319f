"""Documents that are in the raw sample and in the reference, by their texts and their ids."""

from __future__ import annotations

from collections.abc import Sequence

from ensue.text.document import Document
from ensue.text.quality.passages import Passage, id_digest, text_digest


class Overlap:
    """Which of some passages' documents are seen again. Texts that were changed meanwhile are known by their ids."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.documents_seen = 0
        self._passages = passages
        self._texts = {passage.digest for passage in passages}
        self._ids = {passage.id for passage in passages}
        self._same_texts: set[int] = set()
        self._same_ids: set[int] = set()

    def see(self, document: Document) -> None:
        """One more document of the other side."""
        self.documents_seen += 1
        self._same_texts.update({text_digest(document.text)} & self._texts)
        self._same_ids.update({id_digest(document.id)} & self._ids)

    def others(self) -> list[Passage]:
        """The passages of documents that were not seen.

        Raises ValueError if that is less than half of them.
        """
        found = [
            each for each in self._passages if each.digest not in self._same_texts and each.id not in self._same_ids
        ]
        if 2 * len(found) < len(self._passages):
            raise ValueError(
                f"Of {len(self._passages):,} passages sampled from the text that comes in, "
                f"{len(self._passages) - len(found):,} are of documents that are in the reference too, so there is "
                "nothing to tell apart; name a reference that is other text."
            )
        return found
