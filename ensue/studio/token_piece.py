"""The page's element for a piece of a text as tokens; `tokens.js` draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nicegui.element import Element
from nicegui.events import GenericEventArguments

from ensue.studio.token_texts import Shown

PIECE = 48
"""Tokens that are sent again when one is added."""


class TokenPiece(Element, component="tokens.js"):
    """Tokens from place `first` on."""

    def __init__(self, first: int, words: Mapping[str, str]) -> None:
        super().__init__()
        self._props["first"] = first
        self._props["words"] = dict(words)
        self._props["tokens"] = []

    def show(self, tokens: Sequence[Shown]) -> None:
        """Draw these, if they are not what is there."""
        props = [token.as_prop() for token in tokens]
        if props != self._props["tokens"]:
            self._props["tokens"] = props


class TokenText:
    """A text of any length, of which only the pieces that changed are sent."""

    def __init__(
        self,
        place: Element,
        words: Mapping[str, str],
        *,
        on_pick: Callable[[int, int], Any],
        on_onward: Callable[[int], Any],
    ) -> None:
        """It is drawn in `place`; `on_pick` is told (place, token), `on_onward` the place to go on from."""
        self._place, self._words = place, words
        self._on_pick, self._on_onward = on_pick, on_onward
        self._pieces: list[TokenPiece] = []

    def show(self, tokens: Sequence[Shown], *, first: int = 0) -> None:
        """Draw the text from place `first` on, where a piece must begin; what comes before it is drawn already."""
        assert first % PIECE == 0
        before = first // PIECE
        needed = before - (-len(tokens) // PIECE)
        while len(self._pieces) > needed:
            self._place.remove(self._pieces.pop())
        while len(self._pieces) < needed:
            self._pieces.append(self._piece(len(self._pieces) * PIECE))
        for number, piece in enumerate(self._pieces[before:]):
            piece.show(tokens[number * PIECE : (number + 1) * PIECE])

    def _piece(self, first: int) -> TokenPiece:
        with self._place:
            piece = TokenPiece(first, self._words)

        def pick(event: GenericEventArguments) -> Any:
            return self._on_pick(int(event.args["place"]), int(event.args["token"]))

        def onward(event: GenericEventArguments) -> Any:
            return self._on_onward(int(event.args["place"]))

        piece.on("pick", pick)
        piece.on("onward", onward)
        return piece
