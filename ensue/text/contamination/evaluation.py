"""The grams of evaluation files: as a set for finding them in a corpus, and as an index of the items they stand in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ensue.text.contamination.characters import SEPARATOR
from ensue.text.contamination.grams import Found, GramSet, GramSize, find_grams
from ensue.text.contamination.items import Item, evaluation_files, read_items

BATCH_CHARACTERS = 1 << 20
INDEX_BYTES = 48
"""What one gram takes at most while an index is made: its hash, where it stands, and the room to sort it in."""


@dataclass(frozen=True)
class EvaluationIndex:
    """Where each gram of the evaluation files stands first.

    files    as they were given, folders opened
    items    every item that is long enough for a gram, in order
    hashes   (G,) uint64, ascending
    item     (G,) int64, which of `items` a gram stands in first
    starts   (G,) int64, where in that item's text (its strings joined by SEPARATOR) it begins
    stops    (G,) int64, and ends
    rows     how many items there are, short ones too
    """

    files: tuple[str, ...]
    items: tuple[Item, ...]
    hashes: np.ndarray
    item: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    rows: int

    def text(self, item: int) -> str:
        """The text of one item."""
        return SEPARATOR.join(self.items[item].texts)

    def passages(self, grams: np.ndarray) -> Iterator[tuple[int, int, str]]:
        """Of some grams (places in `hashes`): (item, number of grams, text) of each stretch that they cover together,
        by item."""
        order = np.lexsort((self.starts[grams], self.item[grams]))
        run: list[int] = []
        for gram in grams[order].tolist():
            if run and (self.item[run[-1]] != self.item[gram] or self.starts[gram] > self.stops[run[-1]]):
                yield self._passage(run)
                run = []
            run.append(gram)
        if run:
            yield self._passage(run)

    def _passage(self, run: Sequence[int]) -> tuple[int, int, str]:
        item = int(self.item[run[0]])
        return item, len(run), self.text(item)[int(self.starts[run[0]]) : int(self.stops[run[-1]])]


@dataclass(frozen=True)
class EvaluationGrams:
    """The set of grams of evaluation files, and hex digits that name it."""

    grams: GramSet
    digest: str


@lru_cache(maxsize=4)
def evaluation_grams(against: tuple[str, ...], size: GramSize) -> EvaluationGrams:
    """The grams of all files that `against` names, read once in each process.

    Raises FileNotFoundError or ValueError for a file that cannot be read, or none that holds a gram.
    """
    hashes = np.zeros(0, np.uint64)
    for file in evaluation_files(against):
        # Items often repeat one another (questions on one story), so that few of a file's grams are new.
        found = [np.unique(found.hashes) for _, found in grams_of_items(read_items(file), size)]
        hashes = np.unique(np.concatenate([hashes, *found]))
    _check_any(hashes, against, size)
    return EvaluationGrams(GramSet(hashes), _digest(hashes))


def index_evaluation(against: tuple[str, ...], size: GramSize, *, memory: int) -> tuple[EvaluationIndex, str]:
    """The index of all files that `against` names, and the digest of its grams.

    Raises ValueError where it would need more than `memory` bytes.
    """
    files, items, rows = evaluation_files(against), list[Item](), 0
    columns = [list[np.ndarray]() for _ in range(4)]
    held = 0

    for file in files:
        for batch, found in grams_of_items(read_items(file), size):
            rows += len(batch)
            owner, offset = _owners(batch, found)
            there, renumbered = np.unique(owner, return_inverse=True)
            for column, values in zip(
                columns,
                (found.hashes, renumbered + len(items), found.starts - offset, found.stops - offset),
                strict=True,
            ):
                column.append(values)
            items.extend(batch[place] for place in there.tolist())
            held += INDEX_BYTES * len(found.hashes) + sum(len(text) for item in batch for text in item.texts)
            if held > memory:
                raise ValueError(
                    f"the evaluation files need more than the {memory / 1e9:,.1f} GB that may be used, at "
                    f"{INDEX_BYTES} bytes a gram; raise --max-memory, or keep fewer files out at a time."
                )
    whole = [np.concatenate([np.zeros(0, np.uint64), *columns[0]])] + [
        np.concatenate([np.zeros(0, np.int64), *column]) for column in columns[1:]
    ]
    hashes, first = np.unique(whole[0], return_index=True)
    _check_any(hashes, against, size)
    item, starts, stops = (column[first] for column in whole[1:])
    return EvaluationIndex(tuple(files), tuple(items), hashes, item, starts, stops, rows), _digest(hashes)


def grams_of_items(items: Iterable[Item], size: GramSize) -> Iterator[tuple[list[Item], Found]]:
    """Items, a megabyte or so at a time, and the grams of their texts joined by SEPARATOR."""
    batch: list[Item] = []
    held = 0
    for item in items:
        batch.append(item)
        held += sum(len(text) for text in item.texts)
        if held >= BATCH_CHARACTERS:
            yield batch, find_grams(_joined(batch), size)
            batch, held = [], 0
    if batch:
        yield batch, find_grams(_joined(batch), size)


def _joined(batch: Sequence[Item]) -> str:
    return SEPARATOR.join(SEPARATOR.join(item.texts) for item in batch)


def _owners(batch: Sequence[Item], found: Found) -> tuple[np.ndarray, np.ndarray]:
    """For each gram, which item of the batch it stands in, and where that item's text begins."""
    lengths = [len(SEPARATOR.join(item.texts)) + 1 for item in batch]
    begins = np.cumsum([0, *lengths[:-1]])
    owner = np.searchsorted(begins, found.starts, side="right") - 1
    return owner, begins[owner]


def _check_any(hashes: np.ndarray, against: Sequence[str], size: GramSize) -> None:
    if not len(hashes):
        raise ValueError(
            f"{', '.join(against) or 'nothing'} holds no {size.words} words in a row, so there is nothing to keep out; "
            "give files of evaluation items, or a smaller size."
        )


def _digest(hashes: np.ndarray) -> str:
    return hashlib.blake2b(hashes.tobytes(), digest_size=8).hexdigest()
