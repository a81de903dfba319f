"""Documents a few at a time as one text, so that small ones cost no call each and large ones little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ensue.text.contamination.characters import SEPARATOR
from ensue.text.document import Document

CHARACTERS = 1 << 20


@dataclass(frozen=True)
class Joined:
    """Some documents in order, the texts joined by SEPARATOR, and (D,) int64 where each begins in that."""

    documents: list[Document]
    text: str
    begins: np.ndarray

    def owners(self, places: np.ndarray) -> np.ndarray:
        """Which of the documents each place of the text is in."""
        owners: np.ndarray = np.searchsorted(self.begins, places, side="right") - 1
        return owners


def in_batches(documents: Iterable[Document]) -> Iterator[Joined]:
    """The documents, cut after about CHARACTERS of text."""
    batch: list[Document] = []
    held = 0
    for document in documents:
        batch.append(document)
        held += len(document.text)
        if held >= CHARACTERS:
            yield _joined(batch)
            batch, held = [], 0
    if batch:
        yield _joined(batch)


def _joined(documents: list[Document]) -> Joined:
    texts = [document.text for document in documents]
    begins = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
    return Joined(documents, SEPARATOR.join(texts), begins)
