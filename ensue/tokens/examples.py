"""Labelled examples as batches: those of step s are a function of (examples, seed, s), and little is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ensue.core.seeds import seed_for
from ensue.tokens.task_batch import TaskBatch, task_batch

CHUNK = 32
"""Batches whose examples are sorted by length together. More of them leave less padding; in a chunk, which examples
meet depends on their lengths."""


@dataclass(frozen=True)
class Example:
    """One labelled example: its rows of tokens, the share of each answer in what is right, the real score where that is
    what is foretold, and where it stood (file:row)."""

    rows: tuple[np.ndarray, ...]
    answer: np.ndarray
    source: str
    score: float | None = None

    @property
    def length(self) -> int:
        """Tokens of the longest row."""
        return max(map(len, self.rows))

    @property
    def tokens(self) -> int:
        return sum(map(len, self.rows))


class ExampleStream:
    """Epochs of examples in a seeded order, `batch` of them a step.

    An epoch has floor(n / batch) steps, as in the paper's code: a few examples, other ones each time, sit it out. They
    are shuffled, sorted by length inside chunks of `CHUNK` batches, cut into batches, and the batches shuffled. A
    micro-batch has at most `micro_tokens` tokens, padding included, or one example.
    """

    def __init__(
        self, examples: Sequence[Example], *, batch: int, micro_tokens: int, seed: int, looks_ahead: bool = False
    ) -> None:
        """`looks_ahead` as in `task_batch`. Raises ValueError for fewer examples than one batch."""
        if batch < 1 or micro_tokens < 1:
            raise ValueError(f"batch and micro_tokens must be 1 or more, not {batch} and {micro_tokens}.")
        if len(examples) < batch:
            raise ValueError(f"{len(examples)} examples do not fill one batch of {batch}; type --batch {len(examples)}")
        self.examples, self.batch, self.micro_tokens, self.seed = examples, batch, micro_tokens, seed
        self.looks_ahead = looks_ahead
        self.steps_per_epoch = len(examples) // batch
        self._lengths = np.array([example.length for example in examples])
        self._orders: dict[int, np.ndarray] = {}

    def batches(self, step: int) -> Iterator[TaskBatch]:
        """The micro-batches of this step, on the CPU, the shortest examples first."""
        for part in cut([self.examples[number] for number in self.numbers(step)], self.micro_tokens):
            yield batch_of(part, looks_ahead=self.looks_ahead)

    def documents(self, step: int) -> list[str]:
        """The rows of the table that this step reads, as file:row."""
        return [self.examples[number].source for number in self.numbers(step)]

    def tokens(self, step: int) -> int:
        """Tokens that this step reads, without padding."""
        return sum(self.examples[number].tokens for number in self.numbers(step))

    def numbers(self, step: int) -> list[int]:
        """Which examples the step reads."""
        epoch, place = divmod(step, self.steps_per_epoch)
        numbers: list[int] = self._order(epoch)[place].tolist()
        return numbers

    def padding(self) -> float:
        """The share of padding in what the first epoch feeds."""
        fed = own = 0
        for step in range(self.steps_per_epoch):
            for part in cut([self.examples[number] for number in self.numbers(step)], self.micro_tokens):
                fed += _size(part)
                own += sum(example.tokens for example in part)
        return 1 - own / fed

    def _order(self, epoch: int) -> np.ndarray:
        """(steps, batch) examples of an epoch."""
        if epoch not in self._orders:
            self._orders = {known: order for known, order in self._orders.items() if known == epoch - 1}
            generator = np.random.default_rng(seed_for(self.seed, "examples", epoch))
            order = generator.permutation(len(self.examples))[: self.steps_per_epoch * self.batch]
            for low in range(0, len(order), CHUNK * self.batch):
                chunk = order[low : low + CHUNK * self.batch]
                order[low : low + CHUNK * self.batch] = chunk[np.argsort(self._lengths[chunk], kind="stable")]
            self._orders[epoch] = generator.permutation(order.reshape(self.steps_per_epoch, self.batch))
        return self._orders[epoch]


def in_order_of_length(
    examples: Sequence[Example], *, micro_tokens: int, looks_ahead: bool
) -> Iterator[tuple[list[int], TaskBatch]]:
    """All examples once, like lengths together, and which ones they are."""
    order = sorted(range(len(examples)), key=lambda number: examples[number].length)
    done = 0
    for part in cut([examples[number] for number in order], micro_tokens):
        yield order[done : done + len(part)], batch_of(part, looks_ahead=looks_ahead)
        done += len(part)


def batch_of(examples: Sequence[Example], *, looks_ahead: bool) -> TaskBatch:
    """The examples as one batch."""
    rows, answers = [example.rows for example in examples], [example.answer for example in examples]
    return task_batch(rows, answers, looks_ahead=looks_ahead)


def cut(examples: Sequence[Example], micro_tokens: int) -> Iterator[list[Example]]:
    """Runs of examples of at most `micro_tokens` tokens with their padding, or of one example."""
    part: list[Example] = []
    rows = longest = 0
    for example in examples:
        more, length = rows + len(example.rows), max(longest, example.length)
        if part and more * length > micro_tokens:
            yield part
            part, more, length = [], len(example.rows), example.length
        part.append(example)
        rows, longest = more, length
    if part:
        yield part


def _size(examples: Sequence[Example]) -> int:
    """Tokens of a batch of them, padding included."""
    return sum(len(example.rows) for example in examples) * max(example.length for example in examples)
