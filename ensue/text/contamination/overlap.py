"""The question turned round: which evaluation items stand, in part or whole, in a corpus.

GPT-3 (2020, section 4 and appendix C) calls an item dirty if any run of N of its words is in the training text, N being
the length of the shortest twentieth of a set's items, though 8 at least and 13 at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ensue.text.contamination.batches import Joined, in_batches
from ensue.text.contamination.characters import SEPARATOR
from ensue.text.contamination.evaluation import grams_of_items
from ensue.text.contamination.grams import GramSet, GramSize, count_units, find_grams
from ensue.text.contamination.items import Item, evaluation_files, read_items
from ensue.text.document import Document

SHORTEST, LONGEST = 8, 13
"""What N is clamped to."""


@dataclass(frozen=True)
class DirtyItem:
    """An item that shares grams with the corpus: how many it has, how many are shared, and the first document that
    has one, where in its text the gram begins, and the gram as the item has it."""

    row: int
    grams: int
    shared: int
    document: str
    source: str
    place: int
    gram: str


@dataclass(frozen=True)
class EvaluationSet:
    """Items by a name: a file's, or what a task made of its rows. They are read more than once."""

    name: str
    items: Callable[[], Iterator[Item]]


@dataclass(frozen=True)
class FileOverlap:
    """What one evaluation set shares with a corpus: the length of its grams, its items, and those that are dirty."""

    file: str
    size: GramSize
    items: int
    dirty: tuple[DirtyItem, ...]

    @property
    def share(self) -> float:
        """Dirty items of all."""
        return len(self.dirty) / max(1, self.items)


def overlap_with(
    documents: Iterable[Document], against: Sequence[str], *, words: int | None = None, characters: int = 20
) -> list[FileOverlap]:
    """Each evaluation file's overlap with `documents`, which are gone through once.

    words       of a gram; by GPT-3's rule for each file unless said
    characters  of a gram in scripts without spaces, where it would be 13 words; fewer where it is fewer

    Raises FileNotFoundError or ValueError for a file that cannot be read.
    """
    sets = [EvaluationSet(file, partial(read_items, file)) for file in evaluation_files(against)]
    return overlap_of(documents, sets, words=words, characters=characters)


def overlap_of(
    documents: Iterable[Document], sets: Sequence[EvaluationSet], *, words: int | None = None, characters: int = 20
) -> list[FileOverlap]:
    """Each set's overlap with `documents`; see `overlap_with`."""
    sizes = [_size(words or usual_size(each, characters=characters), characters) for each in sets]
    searches = {size: _Search(size, _all_grams(sets, sizes, size)) for size in dict.fromkeys(sizes)}
    for batch in in_batches(documents):
        for search in searches.values():
            search.look_at(batch)
    return [_overlap(each, size, searches[size]) for each, size in zip(sets, sizes, strict=True)]


def usual_size(items: EvaluationSet, *, characters: int = 20) -> int:
    """GPT-3's N for a set: the fifth percentile of its items' lengths in words, between 8 and 13.

    A character of a script without spaces is 13/`characters` of a word.
    """
    lengths = [sum(_words(text, characters) for text in item.texts) for item in items.items()]
    return min(LONGEST, max(SHORTEST, int(np.percentile(lengths, 5)))) if lengths else LONGEST


class _Search:
    """Grams that are looked for, and the first document that each was found in."""

    def __init__(self, size: GramSize, hashes: np.ndarray) -> None:
        self.size, self.grams = size, GramSet(hashes)
        self.where: np.ndarray = np.full(len(self.grams.hashes), -1, np.int64)
        self.documents: list[tuple[str, str, int]] = []

    def look_at(self, batch: Joined) -> None:
        """Note what is in these documents and was not found before."""
        found = find_grams(batch.text, self.size, self.grams)
        places = np.searchsorted(self.grams.hashes, found.hashes)
        places, first = np.unique(places, return_index=True)
        starts = found.starts[first]
        owner = batch.owners(starts)
        inside = starts - batch.begins[owner]
        new = self.where[places] < 0
        for place, document, start in zip(places[new].tolist(), owner[new].tolist(), inside[new].tolist(), strict=True):
            self.where[place] = len(self.documents)
            self.documents.append((batch.documents[document].id, batch.documents[document].source, start))


def _overlap(items: EvaluationSet, size: GramSize, search: _Search) -> FileOverlap:
    count, dirty = 0, list[DirtyItem]()
    for batch, found in grams_of_items(items.items(), size):
        count += len(batch)
        texts = [SEPARATOR.join(item.texts) for item in batch]
        begins = np.cumsum([0, *(len(text) + 1 for text in texts)])
        edges = np.searchsorted(found.starts, begins)
        where = search.where[np.searchsorted(search.grams.hashes, found.hashes)]
        for number, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            shared = np.flatnonzero(where[low:high] >= 0) + low
            if len(shared):
                first = int(shared[0])
                start, stop = (int(side[first] - begins[number]) for side in (found.starts, found.stops))
                document = search.documents[int(where[first])]
                gram = texts[number][start:stop]
                dirty.append(DirtyItem(batch[number].row, high - low, len(shared), *document, gram))
    return FileOverlap(items.name, size, count, tuple(dirty))


def _all_grams(sets: Sequence[EvaluationSet], sizes: Sequence[GramSize], size: GramSize) -> np.ndarray:
    """The hashes of the grams of every set that goes by this size."""
    wanted = [each for each, own in zip(sets, sizes, strict=True) if own == size]
    found = [grams.hashes for each in wanted for _, grams in grams_of_items(each.items(), size)]
    return np.concatenate([np.zeros(0, np.uint64), *found])


def _size(words: int, characters: int) -> GramSize:
    return GramSize(words, max(1, round(characters * words / LONGEST)))


def _words(text: str, characters: int) -> float:
    words, alone = count_units(text)
    return words + alone * LONGEST / characters
