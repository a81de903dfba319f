"""Texts that match a regular expression or a JSON schema, token by token, through llguidance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ensue.generate.closing import ByteVocabulary, Ending, GrammarEnding, RegularEnding
from ensue.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

WHITESPACE = r"(\n[ ]{0,16}|[ ])?"
"""Between the parts of JSON: a space, or a line break with what indents the next line. Without a bound, models go on
with white space for ever."""
ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
FAR, NEAR = 64, 8
"""Tokens before the end from which on it is looked for, and from which on it is kept in reach."""
CHECKED = 32
"""Tokens that are looked at one by one near the end."""
PLAIN = frozenset(bytes([byte]) for byte in b" 0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class Grammars:
    """Compiles what texts have to match, for one tokenizer.

    Raises ValueError where llguidance is missing, and for a tokenizer that cannot spell every text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        try:
            import llguidance
        except ImportError as error:
            raise ValueError(
                "constrained output needs llguidance, which is not installed: pip install 'ensue[serve]'"
            ) from error
        if not tokenizer.lossless:
            raise ValueError(
                f"this model's tokens ({tokenizer.name}) cannot spell every text, so its texts cannot be held to a "
                "grammar; use a model with a byte-level tokenizer."
            )
        self._matcher = llguidance.LLMatcher
        self._vocabulary = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Vocabulary(tokenizer)))
        self._bytes = llguidance.LLTokenizer(llguidance.TokenizerWrapper(ByteVocabulary()))
        self.tokenizer = tokenizer

    def json_schema(self, schema: Mapping[str, Any] = ANY_OBJECT) -> Grammar:
        """JSON that a schema describes; any object unless said. Raises ValueError for a schema that cannot be met."""
        try:
            text = json.dumps(schema)
            source = self._matcher.grammar_from_json_schema(text, overrides={"whitespace_pattern": WHITESPACE})
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the schema is none: {error}.") from error
        whole = self._matcher.grammar_from_json_schema(json.dumps(_with_all(schema)))
        grammar = self._compiled(source, "the schema", self._ending(source))
        return replace(grammar, whole=self._ending(whole))

    def regex(self, pattern: str) -> Grammar:
        """Texts that a regular expression matches as a whole: Rust's syntax, where `\\d` means 0 to 9.

        Raises ValueError for one that is none.
        """
        try:
            pattern = _plain_digits(pattern)
            source = self._matcher.grammar_from_regex(pattern)
        except ValueError as error:
            raise ValueError(f"the regular expression is none: {error}.") from error
        regular = RegularEnding.of(pattern)
        return self._compiled(source, "the regular expression", regular.anew if regular else self._ending(source))

    def _ending(self, source: str) -> Callable[[], Ending]:
        return lambda: GrammarEnding(self._matcher(self._bytes, source, log_level=0))

    def _compiled(self, source: str, name: str, ending: Callable[[], Ending]) -> Grammar:
        matcher = self._matcher(self._vocabulary, source, log_level=0)
        if not matcher.is_error() and not matcher.is_accepting():
            first = _allowed(matcher, self.tokenizer.vocab_size)
            if not matcher.is_error() and not first.any():
                raise ValueError(f"{name} matches no text at all.")
        if matcher.is_error():
            raise ValueError(f"{name} cannot be used: {_first_line(matcher.get_error())}")
        return Grammar(matcher, self._vocabulary, self.tokenizer, ending)


@dataclass(frozen=True)
class Grammar:
    """Something compiled; each text that has to match it takes a `Matching` of its own.

    `whole` knows the ends of texts that leave nothing out.
    """

    start: LLMatcher
    vocabulary: LLTokenizer
    tokenizer: Tokenizer
    ending: Callable[[], Ending]
    whole: Callable[[], Ending] | None = None

    def matching(self, most: int) -> Matching:
        """A constraint for one text of up to `most` tokens, the end token among them."""
        return Matching(self, most)

    @cached_property
    def shortest(self) -> int:
        """Tokens of the shortest text that was found."""
        return len(self.cut(self.ending().rest(b"") or b""))

    @cached_property
    def leap(self) -> int:
        """How much farther from its end one token can lead a text, about: as far as one with everything is long."""
        whole = None if self.whole is None else self.whole().rest(b"")
        return max(self.shortest, len(self.cut(whole or b"")))

    def cut(self, text: bytes) -> list[int]:
        """Tokens that spell some bytes, about as few as can be."""
        return self.vocabulary.greedy_tokenize(text.decode()) if _is_text(text) else self._cut_bytes(text)

    def _cut_bytes(self, text: bytes) -> list[int]:
        return [token for byte in text for token in self.vocabulary.tokenize_bytes(bytes([byte]))]


class Matching:
    """An engine's `Constraint`: from a text's tokens so far to those that may come next.

    It remembers the text it was asked for last, so that a token more takes a step. Near the last of `most` tokens only
    those may come after which the text can still end in time; so it ends as something that matches wherever an end was
    found that fits. Where its grammar becomes too complex, the text ends there, and `error` says so.
    """

    def __init__(self, grammar: Grammar, most: int) -> None:
        self._grammar, self._most = grammar, most
        self._matcher, self._ending = grammar.start.deep_copy(), grammar.ending()
        self._end, self._size = grammar.tokenizer.end, grammar.tokenizer.vocab_size
        self.error: str | None = None
        self._read: list[int] = []
        self._text = b""
        self._way: list[int] | None = None
        self._look_at = 2 * grammar.leap + FAR

    def __call__(self, new: Sequence[int]) -> Tensor:
        """(V,) bool."""
        self._catch_up(new)
        allowed = _allowed(self._matcher, self._size)
        if self._matcher.is_error():
            self.error = f"the text cannot be held to its grammar: {_first_line(self._matcher.get_error())}"
            allowed[:] = False
        if self._matcher.is_accepting() or not allowed.any():
            allowed[self._end] = True
        left = self._most - len(new)
        if left <= self._look_at and self.error is None:
            self._keep_to_the_end(allowed, left)
        return torch.from_numpy(allowed)

    def _keep_to_the_end(self, allowed: Flags, left: int) -> None:
        """Strike out the tokens after which the text could not end within `left` tokens, this one among them."""
        self._ending.read(self._text)
        way = self._way if self._way is not None else self._way_from(self._text)
        if way is None:
            return
        slack, step = left - len(way), self._grammar.leap + NEAR
        if slack > step:
            self._look_at = left - slack // step
            return
        self._look_at = left
        candidates = allowed.nonzero()[0].tolist()
        if slack > NEAR and len(candidates) > CHECKED:
            return
        self._way = way
        kept = self._that_can_end(candidates, left - 1)
        allowed[:] = False
        allowed[[*kept, *(way[:1] or ([] if kept else [self._end]))]] = True

    def _that_can_end(self, candidates: Sequence[int], left: int) -> list[int]:
        """Those of the tokens after which the text can end within `left` more. Of many, only single letters and digits
        are looked at, which inside a string are all alike: the first and the last stand for the others."""
        if len(candidates) <= CHECKED:
            return [token for token in candidates if self._can_end(token, left)]
        plain = [token for token in candidates if self._grammar.tokenizer.token_bytes(token) in PLAIN]
        if self._ending.exact:
            return [token for token in plain if self._can_end(token, left)]
        return plain if all(self._can_end(token, left) for token in (*plain[:1], *plain[-1:])) else []

    def _can_end(self, token: int, left: int) -> bool:
        if token == self._end:
            return True
        way = self._way_from(self._text + self._grammar.tokenizer.token_bytes(token))
        return way is not None and len(way) <= left

    def _way_from(self, text: bytes) -> list[int] | None:
        rest = self._ending.rest(text)
        return None if rest is None else self._grammar.cut(rest)

    def _catch_up(self, new: Sequence[int]) -> None:
        held = len(self._read)
        if list(new[:held]) != self._read:
            self._matcher.reset()
            self._read, self._text, self._way, held = [], b"", None, 0
        rest = [token for token in new[held:] if token != self._end]
        if rest:
            self._matcher.consume_tokens(rest)
        on_the_way = self._way is not None and self._way[: len(rest)] == rest
        self._way = self._way[len(rest) :] if self._way is not None and on_the_way else None
        self._read = list(new)
        self._text += b"".join(map(self._grammar.tokenizer.token_bytes, rest))


class _Vocabulary:
    """A tokenizer as llguidance reads it: the bytes of each token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = tokenizer.end
        self.bos_token_id = tokenizer.end
        self.tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
        self.special_token_ids = [tokenizer.end]

    def __call__(self, text: bytes | str) -> list[int]:
        return self._tokenizer.encode(text if isinstance(text, str) else text.decode("utf-8", "replace"))


def _allowed(matcher: LLMatcher, size: int) -> Flags:
    bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
    return np.unpackbits(bits, bitorder="little")[:size].astype(bool)


def _with_all(schema: Any) -> Any:
    """A schema whose objects have all of their properties."""
    if isinstance(schema, list):
        return [_with_all(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    whole = {name: _with_all(value) for name, value in schema.items()}
    properties = schema.get("properties")
    return {**whole, "required": list(properties)} if isinstance(properties, Mapping) else whole


def _plain_digits(pattern: str) -> str:
    """An expression whose `\\d` are those of ASCII: what people mean by them, and JSON Schema does."""
    found, inside, place = "", False, 0
    while place < len(pattern):
        taken = pattern[place : place + (2 if pattern[place] == "\\" else 1)]
        inside = taken == "[" or (inside and taken != "]")
        found += ("0-9" if inside else "[0-9]") if taken == "\\d" else taken
        place += len(taken)
    return found


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0][:300]
