"""Decoding token by token: text is handed out as soon as it is whole, and never taken back."""

from __future__ import annotations

import codecs

from ensue.tokens.tokenizer import Tokenizer


class StreamDecoder:
    """The text of a growing list of ids; all pieces joined equal `tokenizer.decode` of all ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = False
        self._held = ""

    def feed(self, token: int) -> str:
        """The text that this token completes; a character whose bytes are not all here yet is held back."""
        return self._pass_on(self._utf8.decode(self._tokenizer.token_bytes(token)))

    def finish(self) -> str:
        """What is still held back: U+FFFD for an unfinished character, else nothing."""
        return self._pass_on(self._utf8.decode(b"", final=True))

    def _pass_on(self, text: str) -> str:
        if self._tokenizer.lossless:
            return text
        # A tokenizer that is not lossless strips its text, so whitespace waits for something after it.
        text = self._held + text
        whole = text.rstrip()
        self._held = text[len(whole) :]
        whole = whole if self._begun else whole.lstrip()
        self._begun = self._begun or bool(whole)
        return whole
