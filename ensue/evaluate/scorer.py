"""The three primitives that every measurement is made of, over whatever model can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

OnDone = Callable[[int], None]
"""Called with how many more requests are done, for a progress bar."""


@dataclass(frozen=True)
class Request:
    """What is asked: how likely `continuation` is right after `context`. They are tokenised as one text."""

    context: str
    continuation: str


@dataclass(frozen=True)
class Scored:
    """How likely a text is.

    tokens      the scored tokens as text
    token_nats  ln p of each, in nats
    greedy      whether each of them was the likeliest there
    cut         tokens at the context's beginning that did not fit the model's window
    unscored    tokens at the beginning of the scored text itself that did not fit it either
    """

    tokens: tuple[str, ...]
    token_nats: tuple[float, ...]
    greedy: bool
    cut: int = 0
    unscored: int = 0

    @property
    def nats(self) -> float:
        """ln p of all of it."""
        return sum(self.token_nats)


@dataclass(frozen=True)
class Decoding:
    """How free text is written.

    kind   `greedy`; `beam` search of `width` with length penalty `alpha` (GPT-3 2020, section 2.4: 4 and 0.6);
           `sample` at temperature 1 from the `top_k` likeliest (GPT-2 2019, section 3.6: 2) or from those that together
           reach `top_p`, with the prompt's own seed; `word` the likeliest next word that is not one of `avoid`
    most   tokens at most
    stop   ends before any of these; at the end token in any case
    """

    kind: Literal["greedy", "beam", "sample", "word"] = "greedy"
    most: int = 64
    stop: tuple[str, ...] = ("\n",)
    width: int = 4
    alpha: float = 0.6
    top_k: int | None = 2
    top_p: float | None = None
    avoid: tuple[str, ...] = ()


def room_for_prompt(window: int, decoding: Decoding) -> int:
    """Tokens of a prompt that fit beside what is to be written, which gets half the window at most."""
    return max(window - decoding.most, window - window // 2)


@dataclass(frozen=True)
class Prompt:
    """What is to be gone on with, how, and the seed of anything drawn."""

    text: str
    decoding: Decoding
    seed: int = 0


class Unscorable(ValueError):
    """A request or text has no score that is a number; `place` is which of those given together."""

    def __init__(self, said: str, place: int) -> None:
        super().__init__(said)
        self.place = place


class Scorer(Protocol):
    """A model that can be asked. What it answers does not depend on what else is asked with it.

    at_once  items whose requests are best given together, so that what they share is computed once
    """

    @property
    def at_once(self) -> int: ...

    def identity(self) -> Mapping[str, str]:
        """What tells this model from others: its name, digests of its weights and tokenizer."""

    def window(self) -> int | None:
        """Tokens of context and continuation that fit, or None where it is not known."""

    def count(self, text: str) -> int | None:
        """Tokens of a text, or None where they cannot be counted."""

    def loglikelihood(self, requests: Sequence[Request], on_done: OnDone | None = None) -> list[Scored]:
        """How likely each continuation is. Raises Unscorable where one is not a number."""

    def rolling(
        self, texts: Sequence[str], *, stride: int | None = None, on_done: OnDone | None = None
    ) -> list[Scored]:
        """How likely each text is as a whole, each token scored once, the first after the end token.

        Windows are as long as fits and end `stride` tokens apart (the whole window unless said), the last one where the
        text does, so that a smaller stride gives each token more before it.
        """

    def generate(self, prompts: Sequence[Prompt], on_done: OnDone | None = None) -> list[str]:
        """What the model writes after each prompt, without the prompt and what ends it."""
