"""Conversations as batches: epochs of them in a seeded order, like lengths together, scored on their answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ensue.tokens.batch import Batch
from ensue.tokens.examples import Example, ExampleStream, cut


def conversation_example(ids: np.ndarray, scored: np.ndarray, source: str) -> Example:
    """A conversation's row as an example whose answer is spread over its tokens: 1 for those that are scored."""
    return Example((ids,), scored, source)


class ConversationStream:
    """`ExampleStream`'s order of `conversation_example`s, as batches of one model that sees no later token."""

    def __init__(self, examples: Sequence[Example], *, batch: int, micro_tokens: int, seed: int) -> None:
        """Raises ValueError for fewer examples than one batch."""
        self._order = ExampleStream(examples, batch=batch, micro_tokens=micro_tokens, seed=seed)
        self.steps_per_epoch = self._order.steps_per_epoch

    def batches(self, step: int) -> Iterator[Batch]:
        """The micro-batches of this step, on the CPU, the shortest conversations first."""
        examples = [self._order.examples[number] for number in self._order.numbers(step)]
        for part in cut(examples, self._order.micro_tokens):
            yield conversation_batch(part)

    def documents(self, step: int) -> list[str]:
        """The rows of the table that this step reads, as file:row."""
        return self._order.documents(step)

    def tokens(self, step: int) -> int:
        """Tokens that this step reads, without padding."""
        return self._order.tokens(step)

    def padding(self) -> float:
        """The share of padding in what the first epoch feeds."""
        return self._order.padding()


def conversation_batch(examples: Sequence[Example]) -> Batch:
    """Rows filled up on the right; a target weighs 1 where it is an answer's token, and 0 in prompts and padding."""
    longest = max(example.length for example in examples)
    ids = np.zeros((len(examples), longest), np.int64)
    scored = np.zeros((len(examples), longest), np.float32)
    for number, example in enumerate(examples):
        ids[number, : example.length] = example.rows[0]
        scored[number, : example.length] = example.answer
    return Batch(
        tokens=torch.from_numpy(np.ascontiguousarray(ids[:, :-1])),
        targets=torch.from_numpy(np.ascontiguousarray(ids[:, 1:])),
        weights=torch.from_numpy(np.ascontiguousarray(scored[:, 1:])),
    )


def in_order_of_length(examples: Sequence[Example], *, micro_tokens: int) -> Iterator[Batch]:
    """All conversations once, like lengths together."""
    for part in cut(sorted(examples, key=lambda example: example.length), micro_tokens):
        yield conversation_batch(part)
