"""How conversations are written down for the model that is served."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ensue.tokens.conversation import ChatTemplate, plain_template, read_template, with_source
from ensue.tokens.tokenizer import Tokenizer

PLAIN = "plain"


def open_template(folder: Path, tokenizer: Tokenizer, *, choice: str | None = None) -> ChatTemplate | None:
    """The template in a model's folder, or the one of `choice`: `plain`, or a file. None where there is none.

    Raises ValueError for one that cannot be read.
    """
    if choice is None:
        return read_template(folder, tokenizer)
    if choice == PLAIN:
        return plain_template(tokenizer)
    try:
        source = Path(choice).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the chat template {choice} cannot be read: {error}.") from error
    return with_source(source, folder, tokenizer)


def special_tokens(folder: Path, tokenizer: Tokenizer) -> Mapping[str, int]:
    """The tokens that stand for themselves, by their spelling: those added to the tokenizer, and the end token."""
    return with_source("", folder, tokenizer).tokens


def part_specials(text: str, specials: Mapping[str, int]) -> list[str]:
    """A text cut before and after each special token that it spells; the longest is taken where several begin."""
    if not specials:
        return [text]
    ordered = sorted(specials, key=len, reverse=True)
    return re.split(f"({'|'.join(map(re.escape, ordered))})", text)


class Trimmed:
    """Text as it comes, without the white space around it."""

    def __init__(self) -> None:
        self._begun, self._held = False, ""

    def feed(self, piece: str) -> str:
        """What can be passed on: not yet what may be the white space at the end."""
        text = self._held + piece if self._begun else piece.lstrip()
        whole = text.rstrip()
        self._begun, self._held = self._begun or bool(whole), text[len(whole) :]
        return whole
