"""Tokens as people see them: the text that each completes, a label for one alone, and how probable it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ensue.studio.branches import Node
from ensue.tokens.stream_decoder import StreamDecoder
from ensue.tokens.tokenizer import Tokenizer

LEVELS = (0.5, 0.25, 0.1, 0.03, 0.01)
"""A token at least this probable has the level of its place here, 0 the surest; the rest have the last."""

MARKS = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"}


@dataclass(frozen=True)
class Shown:
    """A token as a page shows it: `text` is what it completes, empty inside a character of several tokens."""

    text: str
    label: str
    level: int | None
    probability: str
    rank: int | None
    made: str
    forked: bool
    others: tuple[tuple[int, str, str, float, bool], ...]

    def as_prop(self) -> dict[str, Any]:
        """What the browser is sent; short names, since there are many."""
        return {
            "t": self.text,
            "n": self.label,
            "l": self.level,
            "p": self.probability,
            "r": self.rank,
            "m": self.made,
            "f": self.forked,
            "o": self.others,
        }


def show_tokens(tokenizer: Tokenizer, nodes: Sequence[Node], first: int = 0) -> list[Shown]:
    """A text's tokens in order, from place `first` on.

    `others` of each are the likeliest in its place: (token, label, its probability in words, and as a share, whether
    there is a branch with it).
    """
    texts = texts_of(tokenizer, [node.told.token for node in nodes])
    return [_shown(tokenizer, node, text) for node, text in zip(nodes[first:], texts[first:], strict=True)]


def texts_of(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[str]:
    """The text that each token completes; joined, they are the decoded text, end tokens left out."""
    decoder = StreamDecoder(tokenizer)
    texts = ["" if token == tokenizer.end else decoder.feed(token) for token in tokens]
    if texts:
        texts[-1] += decoder.finish()
    return texts


def label_of(tokenizer: Tokenizer, token: int) -> str:
    """A token alone, its spaces visible, and the bytes of one that is part of a character."""
    if token == tokenizer.end:
        return "<|end|>"
    data = tokenizer.token_bytes(token)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"<{data.hex(' ').upper()}>"
    return "".join(MARKS.get(character, character) for character in text)


def level_of(nats: float | None) -> int | None:
    """How sure the model was of a token with this log-probability: 0 (at least a half) to 5 (less than 1%)."""
    if nats is None:
        return None
    return sum(math.exp(nats) < least for least in LEVELS)


def percent(share: float) -> str:
    """A probability for a person."""
    if share >= 0.0995:
        return f"{100 * share:.0f}%"
    if share >= 0.00095:
        return f"{100 * share:.1f}%"
    return f"{100 * share:.2f}%" if share >= 0.0001 else "<0.01%"


def _shown(tokenizer: Tokenizer, node: Node, text: str) -> Shown:
    told = node.told
    tried = {child.told.token for child in node.parent.children} if node.parent is not None else set()
    others = tuple(
        (token, label_of(tokenizer, token), percent(math.exp(nats)), round(math.exp(nats), 4), token in tried)
        for token, nats in told.likeliest
    )
    return Shown(
        text=text,
        label=label_of(tokenizer, told.token),
        level=level_of(told.nats),
        probability="" if told.nats is None else percent(math.exp(told.nats)),
        rank=told.rank,
        made=node.made,
        forked=node.forked,
        others=others,
    )
