"""The likeliest next word of a text: a whole word, whatever the tokens it is made of."""

from __future__ import annotations

import heapq
import re
from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import torch
from torch import Tensor

from ensue.generate.forward import check_prompts, pad, prefill, reading
from ensue.generate.lm import LM
from ensue.model.cache import Cache

# Legend: B rows, T tokens, V vocabulary.

FOLLOWED = 2000
"""Beginnings of words that are followed at most. A trained model needs about ten."""

_PART = re.compile(r"['’-]?[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True)
class WordTokens:
    """Which part of a word each of V tokens may be.

    first      (V,) bool, it begins a word
    further    (V,) bool, it goes on with one
    completes  (V,) bool, it has the word's end inside, as tokens do whose spaces come after words
    spaced     whether words begin with a space; then any token that does not go on ends one, unseen
    parts      what of each token belongs to the word
    """

    first: Tensor
    further: Tensor
    completes: Tensor
    spaced: bool
    parts: tuple[bytes, ...]


def likeliest_word(lm: LM, prompt: list[int], *, avoid: Set[str] = frozenset(), most: int = 8, at_once: int = 8) -> str:
    """The word of at most `most` tokens that is likeliest to come next and is not, in lower case, one of `avoid`.

    A word is letters and digits, with what apostrophes and hyphens are in a token with letters after them. Its
    probability is that of its tokens times that of any token after them which does not go on with it. Beginnings are
    followed best first, `at_once` in a pass; since a word is never likelier than its beginning, the first whole one
    that is reached is the likeliest (of a model that hardly prefers any, the likeliest of those reached after following
    `FOLLOWED`). Of a word that several rows of tokens spell, each counts by itself. Nothing where no word is found.
    Raises ValueError where prompt and word do not fit the context together.
    """
    check_prompts(lm.model, [prompt])
    if len(prompt) + most > lm.config.context:
        raise ValueError(
            f"a prompt of {len(prompt):,} tokens and a word of {most} do not fit this model's context of "
            f"{lm.config.context:,}; shorten the prompt."
        )
    search = _Search(lm, prompt, most)
    while search.queue:
        found = search.next(at_once if search.followed < FOLLOWED else 0)
        if found and found.lower() not in avoid:
            return found
    return ""


@dataclass(frozen=True)
class _Node:
    """A word's beginning, and what it may go on with: token ids and ln p of the whole so far, likeliest first."""

    tokens: tuple[int, ...]
    text: bytes
    children: list[int]
    nats: list[float]


class _Search:
    """`queue` holds whole words and, of each beginning followed so far, the likeliest child that is not yet out."""

    def __init__(self, lm: LM, prompt: list[int], most: int) -> None:
        self._lm, self._length, self._most = lm, len(prompt), most
        self._parts = word_tokens(lm)
        self._cache, logits = prefill(lm.model, [prompt], capacity=len(prompt) + most)
        self._order = count()
        self.followed = 0
        self.queue: list[tuple[float, int, bytes | tuple[_Node, int]]] = []
        self._open((), b"", self._nats(logits)[0], 0.0)

    def next(self, at_once: int) -> str | None:
        """Follow up to `at_once` beginnings, or take out the word that is likelier than all of them.

        With 0 whatever comes first is taken out, and beginnings are dropped.
        """
        if not at_once:
            entry = heapq.heappop(self.queue)[2]
            return entry.decode("utf-8", "replace") if isinstance(entry, bytes) else None
        follow: list[tuple[tuple[int, ...], bytes, float]] = []
        while self.queue and len(follow) < at_once:
            _, _, entry = self.queue[0]
            if isinstance(entry, bytes):
                if follow:
                    break
                heapq.heappop(self.queue)
                return entry.decode("utf-8", "replace")
            node, place = entry
            token, nats = node.children[place], node.nats[place]
            heapq.heappop(self.queue)
            self._offer(node, place + 1)
            text = node.text + self._parts.parts[token]
            if self._parts.completes[token]:
                heapq.heappush(self.queue, (-nats, next(self._order), text))
            elif len(node.tokens) < self._most:
                follow.append(((*node.tokens, token), text, nats))
        if follow:
            self._follow(follow)
        return None

    def _follow(self, follow: list[tuple[tuple[int, ...], bytes, float]]) -> None:
        rows = [tokens for tokens, _, _ in follow]
        self.followed += len(rows)
        self._cache.reorder([0] * len(rows))
        logits = _after(self._lm, self._cache, rows)
        self._cache.cut([self._length] * len(rows))
        for (tokens, text, nats), row in zip(follow, self._nats(logits), strict=True):
            self._open(tokens, text, row, nats)

    def _open(self, tokens: tuple[int, ...], text: bytes, row: Tensor, nats: float) -> None:
        allowed = self._parts.further if tokens else self._parts.first
        places = allowed.nonzero()[:, 0]
        scores, order = (row[places] + nats).sort(descending=True, stable=True)
        self._offer(_Node(tokens, text, places[order].tolist(), scores.tolist()), 0)
        if tokens and self._parts.spaced:
            ended = float(torch.logsumexp(row[~allowed], 0)) + nats
            heapq.heappush(self.queue, (-ended, next(self._order), text))

    def _offer(self, node: _Node, place: int) -> None:
        if place < len(node.children) and node.nats[place] > float("-inf"):
            heapq.heappush(self.queue, (-node.nats[place], next(self._order), (node, place)))

    def _nats(self, logits: Tensor) -> Tensor:
        return logits.double().log_softmax(-1)[:, : self._lm.tokenizer.vocab_size].cpu()


def _after(lm: LM, cache: Cache, rows: list[tuple[int, ...]]) -> Tensor:
    """(B, V) logits after a few more tokens in each row of the cache."""
    with reading(lm.model):
        hidden = lm.model.hidden(pad(rows, cache.device), cache=cache)  # (B, T, W)
        last = torch.tensor([len(row) - 1 for row in rows], device=cache.device)
        logits: Tensor = lm.model.logits(hidden[torch.arange(len(rows), device=cache.device), last])
    return logits.float()


def word_tokens(lm: LM) -> WordTokens:
    """Which part of a word each token of the model's tokenizer may be."""
    return _word_tokens(tuple(lm.tokenizer.token_bytes(token) for token in range(lm.tokenizer.vocab_size)))


@lru_cache(maxsize=2)
def _word_tokens(tokens: tuple[bytes, ...]) -> WordTokens:
    spaced = any(token[:1] == b" " and token[1:].isalpha() for token in tokens)
    parts, first, further, completes = [], [], [], []
    for token in tokens:
        leads = token.startswith(b" ")
        body = token[1:] if leads and spaced else token
        part = _word_part(body)
        parts.append(part)
        first.append(bool(part) and leads == spaced and part[:1] not in b"'-")
        further.append(bool(part) and not leads)
        completes.append(bool(part) and part != body)
    return WordTokens(torch.tensor(first), torch.tensor(further), torch.tensor(completes), spaced, tuple(parts))


def _word_part(body: bytes) -> bytes:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body  # a part of a character, which may be a letter
    found = _PART.match(text)
    return found[0].encode() if found else b""
