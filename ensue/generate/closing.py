"""The way to the end of a text that has to match a grammar, so that it ends before its tokens run out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from llguidance import LLMatcher

Ranks = np.ndarray[Any, np.dtype[np.int64]]

FARTHEST = 1024
"""Bytes to the end that are looked for at most."""
BYTES = 256
DIGITS, LOWER = "0123456789", "abcdefghijklmnopqrstuvwxyz"
LETTERS = ("nft" + LOWER, LOWER[::-1])
"""Two orders of the letters, since properties that may be left out often stand beside those that may not."""
ANY_TEXT = 64
"""So many bytes may come inside a string only, where a quote ends it; elsewhere it would begin one."""


class Ending(Protocol):
    """Knows how texts of one grammar can end. Where it is `exact`, it finds the shortest end, and finds it fast."""

    exact: bool

    def read(self, text: bytes) -> None:
        """Remember the state after a text, from which `rest` goes on for those that begin with it."""

    def rest(self, text: bytes) -> bytes | None:
        """Bytes, about as few as can be, after which `text` matches; None where none were found."""


class ByteVocabulary:
    """The 256 bytes as a tokenizer that llguidance reads, with an end token after them."""

    def __init__(self) -> None:
        self.eos_token_id = self.bos_token_id = BYTES
        self.tokens = [*(bytes([byte]) for byte in range(BYTES)), b"<end>"]
        self.special_token_ids = [BYTES]

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


class GrammarEnding:
    """Of texts that a grammar of llguidance matches, written for JSON: it follows one order of bytes to the end."""

    exact = False

    def __init__(self, start: LLMatcher) -> None:
        """`start` has read nothing, and its tokens are the bytes (`ByteVocabulary`)."""
        self._start = start
        self._read, self._state = b"", start.deep_copy()

    def read(self, text: bytes) -> None:
        if not text.startswith(self._read):
            self._read, self._state = b"", self._start.deep_copy()
        self._state.consume_tokens(list(text[len(self._read) :]))
        self._read = text

    def rest(self, text: bytes) -> bytes | None:
        assert text.startswith(self._read)
        state = self._state.deep_copy()
        if not state.consume_tokens(list(text[len(self._read) :])):
            return None
        found = [end for end in (_follow(state.deep_copy(), order) for order in _RANKS) if end is not None]
        return min(found, key=len, default=None)


LAST = "\U0010ffff"
"""Put behind an expression, a character that no text holds: outlines-core's automaton goes no further from where a text
may end, and so would know nothing of one that might, but goes on."""


class RegularEnding:
    """Of texts that a regular expression matches: the fewest bytes, from its automaton (outlines-core)."""

    exact = True

    def __init__(self, transitions: Mapping[int, Mapping[int, int]], start: int, finals: Sequence[int]) -> None:
        self._next, self._start = transitions, start
        self._steps = _first_steps(transitions, finals)
        self._read = b""
        self._state: int | None = start

    @classmethod
    def of(cls, pattern: str) -> RegularEnding | None:
        """None where outlines-core is missing, or does not take the expression."""
        try:
            from outlines_core import Index, Vocabulary
        except ImportError:
            return None
        try:
            index = Index(f"(?:{pattern}){LAST}", Vocabulary(BYTES, {bytes([byte]): [byte] for byte in range(BYTES)}))
        except ValueError:
            return None
        return cls(index.get_transitions(), index.get_initial_state(), list(index.get_final_states()))

    def anew(self) -> RegularEnding:
        """Another of the same expression, for another text."""
        return copy(self)

    def read(self, text: bytes) -> None:
        if not text.startswith(self._read):
            self._read, self._state = b"", self._start
        self._read, self._state = text, self._after(text[len(self._read) :])

    def rest(self, text: bytes) -> bytes | None:
        assert text.startswith(self._read)
        state = self._after(text[len(self._read) :])
        found = bytearray()
        while state is not None and state in self._steps:
            step = self._steps[state]
            if step is None:
                return bytes(found[: -len(LAST.encode())])
            byte, state = step
            found.append(byte)
        return None

    def _after(self, more: bytes) -> int | None:
        """The state after the one that is remembered and some bytes; None where nothing matches any more."""
        state: int | None = self._state
        for byte in more:
            state = None if state is None else self._next.get(state, {}).get(byte)
        return state


def _first_steps(
    transitions: Mapping[int, Mapping[int, int]], finals: Sequence[int]
) -> dict[int, tuple[int, int] | None]:
    """Of each state from which a final one is reached, the byte and the state that come nearer; None at the end."""
    before: dict[int, list[tuple[int, int]]] = {}
    for state, steps in transitions.items():
        for byte, following in steps.items():
            if byte < BYTES:
                before.setdefault(following, []).append((byte, state))
    found: dict[int, tuple[int, int] | None] = dict.fromkeys(finals)
    level = list(finals)
    while level:
        farther = []
        for following in level:
            for byte, state in sorted(before.get(following, ())):
                if state not in found:
                    found[state] = (byte, following)
                    farther.append(state)
        level = farther
    return found


def _rank(order: str) -> Ranks:
    """A place for each byte: those of the order, then other printable ones, white space, and the rest."""
    printable = "".join(chr(byte) for byte in range(33, 127) if chr(byte) not in order)
    whole = (order + printable + " \n\t\r").encode()
    rank = np.full(BYTES, BYTES, np.int64)
    rank[list(whole)] = range(len(whole))
    return rank


_RANKS = [
    tuple(_rank(f"{first},:{DIGITS}{letters}{letters.upper()}-[{{") for first in ('}]"', '"}]')) for letters in LETTERS
]
"""What is written first where several bytes may come, between strings and inside them: what ends strings, objects and
lists before what begins them."""


def _follow(state: LLMatcher, ranks: tuple[Ranks, ...]) -> bytes | None:
    """The bytes that are written by taking the first of an order each time, up to where the text may end."""
    found = bytearray()
    while not state.is_accepting():
        forced = state.compute_ff_bytes()
        if forced:
            state.consume_tokens(list(forced))
            found += forced
            continue
        bits = np.frombuffer(state.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[:BYTES].nonzero()[0]
        if not len(allowed) or len(found) >= FARTHEST:
            return None
        rank = ranks[len(allowed) >= ANY_TEXT]
        byte = int(allowed[rank[allowed].argmin()])
        if not state.consume_token(byte):
            return None
        found.append(byte)
    return bytes(found)
