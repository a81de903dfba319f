"""Conversations as rows of tokens of which the answers are scored, and what is left out of one that is too long."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ensue.tokens.conversation import ChatTemplate, encode, ends_of, pieces_of
from ensue.tokens.tokenizer import Tokenizer

Messages = list[dict[str, Any]]

CHUNK = 1000
"""Conversations that are encoded together."""

PROMPT_SHARE = 4
"""Where an answer is too long by itself, its prompt keeps a quarter of the room."""


@dataclass(frozen=True)
class Cuts:
    """What was left out: `turns` are conversations that lost their oldest exchanges, `systems` those that lost the
    system's message, `prompts` those whose prompt lost its beginning, `answers` those whose last answer lost its end;
    `unscored` are answers that later turns are rendered without, so that they cannot be trained on."""

    turns: int = 0
    systems: int = 0
    prompts: int = 0
    answers: int = 0
    unscored: int = 0

    def __add__(self, other: Cuts) -> Cuts:
        return Cuts(*(getattr(self, name) + getattr(other, name) for name in vars(self)))

    def __str__(self) -> str:
        told = {
            "lost their oldest turns": self.turns,
            "the system's message": self.systems,
            "the beginning of the prompt": self.prompts,
            "the end of the answer": self.answers,
        }
        said = ", ".join(f"{count:,} {what}" for what, count in told.items() if count)
        unscored = f"{self.unscored:,} answers are not in what later turns are rendered to, and not trained on"
        return "; ".join([*([f"too long: {said}"] if said else []), *([unscored] if self.unscored else [])])


@dataclass(frozen=True)
class ConversationRow:
    """(T,) int32 tokens of a conversation up to its last answer, and (T,) float32, 1 for the answers' own tokens: what
    an assistant wrote, and the token that ends it."""

    ids: np.ndarray
    scored: np.ndarray
    cuts: Cuts


def rows_of(
    template: ChatTemplate, tokenizer: Tokenizer, conversations: Sequence[Messages], *, limit: int
) -> Iterator[ConversationRow]:
    """The row of each conversation, which `checked_messages` has passed, of at most `limit` tokens.

    One that is too long loses its oldest exchanges, then the system's message, then the beginning of its prompt; only
    an answer that is too long by itself is cut, at its end. Raises ValueError for a conversation without an answer, or
    where the roles alone fill the limit.
    """
    stops = ends_of(template, tokenizer).tokens
    for low in range(0, len(conversations), CHUNK):
        finished = [_to_last_answer(messages) for messages in conversations[low : low + CHUNK]]
        rows = _rows(template, tokenizer, finished, stops)
        long = [number for number, row in enumerate(rows) if len(row.ids) > limit]
        fitting = _fitted_together(template, tokenizer, [finished[number] for number in long], limit)
        shorter = _rows(template, tokenizer, [messages for messages, _ in fitting], stops)
        for number, row, (_, cuts) in zip(long, shorter, fitting, strict=True):
            rows[number] = _at_most(row, limit, cuts)
        yield from rows


def fitted(
    template: ChatTemplate, tokenizer: Tokenizer, messages: Messages, *, limit: int
) -> tuple[Messages, list[int], Cuts]:
    """What is left of a conversation that is to be answered within `limit` tokens, its tokens, and what was left out.

    Its tokens are more than that only where the roles alone are.
    """
    fitting = _fitting(tokenizer, messages, limit)
    left = next(fitting)
    while True:
        ids = encode(template, tokenizer, left, add_generation_prompt=True)
        try:
            left = fitting.send(len(ids))
        except StopIteration as end:
            left, cuts = end.value
            return left, encode(template, tokenizer, left, add_generation_prompt=True), cuts


def _fitting(tokenizer: Tokenizer, messages: Messages, limit: int) -> Generator[Messages, int, tuple[Messages, Cuts]]:
    """Yields messages, is sent how many tokens they are, and returns what is left and what was left out."""
    cuts = Cuts()
    over = (yield messages) - limit
    while over > 0 and (fewer := _without_oldest(messages)) is not None:
        messages, cuts = fewer, replace(cuts, turns=1)
        over = (yield messages) - limit
    system = _systems(messages)
    if over > 0 and 0 < system < len(messages):
        messages, cuts = messages[system:], replace(cuts, systems=1)
        over = (yield messages) - limit
    if over <= 0 or messages[0]["role"] != "user":
        return messages, cuts
    ids = tokenizer.encode(messages[0]["content"].strip())
    kept = len(ids)
    while over > 0 and kept > 1:
        alone = over >= kept  # no prompt at all would be too long
        kept = min(kept, max(1, limit // PROMPT_SHARE)) if alone else kept - over
        rest = _ending(tokenizer, ids, kept)
        if kept < len(ids):
            messages, cuts = [{**messages[0], "content": rest}, *messages[1:]], replace(cuts, prompts=1)
        if alone:
            break
        over = (yield messages) - limit  # what is left may be divided into other tokens than before
    return messages, cuts


def _ending(tokenizer: Tokenizer, ids: list[int], kept: int) -> str:
    """What the last `kept` tokens say, or as many more as it takes: one may be a part of a character."""
    for start in range(len(ids) - kept, -1, -1):
        if text := tokenizer.decode(ids[start:]).lstrip("\ufffd").strip():
            return text
    return tokenizer.decode(ids)


def _fitted_together(
    template: ChatTemplate, tokenizer: Tokenizer, conversations: Sequence[Messages], limit: int
) -> list[tuple[Messages, Cuts]]:
    """Of each conversation what `_fitting` returns; they are encoded together."""
    fittings = [_fitting(tokenizer, messages, limit) for messages in conversations]
    asked = {number: next(fitting) for number, fitting in enumerate(fittings)}
    done: dict[int, tuple[Messages, Cuts]] = {}
    while asked:
        pieces = {
            number: pieces_of(template, messages, add_generation_prompt=False) for number, messages in asked.items()
        }
        encoded = _encoded(tokenizer, pieces.values())
        for number, parts in pieces.items():
            try:
                asked[number] = fittings[number].send(len(_joined(parts, encoded)))
            except StopIteration as end:
                done[number] = end.value
                del asked[number]
    return [done[number] for number in range(len(fittings))]


@dataclass(frozen=True)
class _Looks:
    """The pieces of a conversation, and for each answer in it those that it follows and those it ends."""

    whole: list[str | int]
    answers: list[tuple[list[str | int], list[str | int]]]

    @property
    def all(self) -> Iterator[list[str | int]]:
        yield self.whole
        for before, through in self.answers:
            yield before
            yield through


def _rows(
    template: ChatTemplate, tokenizer: Tokenizer, conversations: Sequence[Messages], stops: frozenset[int]
) -> list[ConversationRow]:
    looks = [_looks(template, messages) for messages in conversations]
    encoded = _encoded(tokenizer, (pieces for look in looks for pieces in look.all))
    return [_row(look, encoded, stops) for look in looks]


def _encoded(tokenizer: Tokenizer, renderings: Iterable[Sequence[str | int]]) -> dict[str, np.ndarray]:
    """The ids of every text among the pieces, each encoded once."""
    texts = sorted({piece for pieces in renderings for piece in pieces if isinstance(piece, str)})
    return dict(zip(texts, tokenizer.encode_batch(texts), strict=True))


def _looks(template: ChatTemplate, messages: Messages) -> _Looks:
    places = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    answers = [
        (
            pieces_of(template, messages[:place], add_generation_prompt=True),
            pieces_of(template, messages[: place + 1], add_generation_prompt=False),
        )
        for place in places
    ]
    return _Looks(answers[-1][1], answers)


def _row(look: _Looks, encoded: Mapping[str, np.ndarray], stops: frozenset[int]) -> ConversationRow:
    ids = _joined(look.whole, encoded)
    scored, unscored = np.zeros(len(ids), np.float32), 0
    for before, through in look.answers:
        start, own = _common(_joined(before, encoded), ids), _joined(through, encoded)
        end = _answer_end(own, start, stops)
        if _common(own, ids) < end or start >= end:
            unscored += 1
        else:
            scored[start:end] = 1
    return ConversationRow(ids, scored, Cuts(unscored=unscored))


def _answer_end(ids: np.ndarray, start: int, stops: frozenset[int]) -> int:
    """Behind the token that ends the answer; a line's end that a template puts there is not the model's to write."""
    places = np.flatnonzero(np.isin(ids[start:], list(stops)))
    return start + int(places[-1]) + 1 if len(places) else len(ids)


def _at_most(row: ConversationRow, limit: int, cuts: Cuts) -> ConversationRow:
    if len(row.ids) > limit:
        cuts = replace(cuts, answers=1)
    if not row.scored[:limit].any():
        raise ValueError(f"a context of {limit} tokens has no room for an answer behind its prompt; use a longer one.")
    return ConversationRow(row.ids[:limit], row.scored[:limit], cuts + row.cuts)


def _joined(pieces: Sequence[str | int], encoded: Mapping[str, np.ndarray]) -> np.ndarray:
    parts = [np.array([piece]) if isinstance(piece, int) else encoded[piece] for piece in pieces]
    return np.concatenate(parts).astype(np.int32)


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """How many tokens the two begin with in common."""
    shorter = min(len(one), len(other))
    differing = np.flatnonzero(one[:shorter] != other[:shorter])
    return int(differing[0]) if len(differing) else shorter


def _to_last_answer(messages: Messages) -> Messages:
    """What stands behind the last answer is answered by nobody."""
    places = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    if not places or places[-1] == 0:
        raise ValueError("a conversation needs an answer, a message of the assistant, behind another message.")
    return messages[: places[-1] + 1]


def _systems(messages: Messages) -> int:
    """How many messages of the system it begins with."""
    return next((place for place, message in enumerate(messages) if message["role"] != "system"), len(messages))


def _without_oldest(messages: Messages) -> Messages | None:
    """Without what is between the system's messages and the second user's message; None where there is no such."""
    head = _systems(messages)
    later = [place for place, message in enumerate(messages) if message["role"] == "user" and place > head]
    return messages[:head] + messages[later[0] :] if later else None
