"""What is asked of the engine, and what it answers, token by token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from ensue.generate.settings import Sampling

Constraint = Callable[[Sequence[int]], Tensor]
"""From the new tokens so far to a (V,) bool tensor of those that may come next; at least one is true."""

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Request:
    """A prompt, and how it is to be gone on with.

    tokens          the prompt, at least one token
    most            new tokens at most; 0 scores the prompt only
    seed            decides every draw of this request, whatever else is going on
    stop            tokens that end it; the one that did is told as well
    likeliest       how many of the likeliest tokens are told beside each, with their log-probabilities
    of_prompt       tell that of the prompt's tokens too
    targets         tell that of these, each as what comes after one of the prompt's last tokens
    scored          tell ln p and rank of each new token; without it, only which tokens they are
    bias            added to the logits of these tokens
    presence, frequency   subtracted from the logits of tokens that were written: once, and for each time (OpenAI's API)
    constraint      which tokens may come next
    """

    tokens: tuple[int, ...]
    most: int = 16
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    stop: frozenset[int] = frozenset()
    likeliest: int = 0
    of_prompt: bool = False
    targets: tuple[int, ...] = ()
    scored: bool = True
    bias: Mapping[int, float] = field(default_factory=dict)
    presence: float = 0.0
    frequency: float = 0.0
    constraint: Constraint | None = None

    @property
    def asked_from(self) -> int:
        """The first place of the prompt whose logits are asked for; what is before it may be read from pages."""
        return 0 if self.of_prompt else len(self.tokens) - max(1, len(self.targets))

    @property
    def foretold(self) -> tuple[int, ...]:
        """The tokens that are told of as what comes after the places from there on."""
        return self.tokens[1:] if self.of_prompt else self.targets

    @property
    def plain(self) -> bool:
        """Whether its next token is the likeliest, with nothing added to the logits."""
        return not (self.sampling.temperature or self._changes)

    @property
    def greatest(self) -> int:
        """How many of the greatest logits decide all that is told of a new token; 0 where every one has a say."""
        if self.scored or self.likeliest or self.of_prompt or self.targets or self._changes:
            return 0
        return (self.sampling.top_k or 0) if self.sampling.temperature else 1

    @property
    def _changes(self) -> bool:
        """Whether anything is done to the logits before a token is chosen."""
        sampling = self.sampling
        added = self.bias or self.presence or self.frequency or self.constraint is not None
        return bool(added or sampling.repetition_penalty != 1 or sampling.no_repeat_ngram)


@dataclass(frozen=True)
class Told:
    """A token, ln p of it in the model's own distribution, and the likeliest tokens there with theirs.

    `rank` counts the tokens that are likelier. Of a prompt's first token, and where nothing was asked for, None.
    """

    token: int
    nats: float | None
    likeliest: tuple[tuple[int, float], ...] = ()
    rank: int | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened to a request in one step: tokens of its prompt that were read, new ones, its end."""

    request: int
    prompt: tuple[Told, ...] = ()
    new: tuple[Told, ...] = ()
    finished: Finish | None = None
