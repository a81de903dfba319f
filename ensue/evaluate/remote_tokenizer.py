"""The tokenizer of a model that is served elsewhere: one of Ensue's own, or any that a tokenizer.json describes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ensue.core.files import sha256_of
from ensue.tokens.tokenizer import SAVED, SAVED_CONFIG, Tokenizer, load_tokenizer

if TYPE_CHECKING:
    import numpy as np

SPACE = "▁"
"""How SentencePiece writes a space."""

SAMPLE = "a"
"""A text to see what a tokenizer puts before it."""


class ForeignTokenizer:
    """A `tokenizer.json` read by the `tokenizers` library, for models that Ensue does not load; it is only read."""

    name = "a tokenizer.json"
    lossless = False

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer as Rules

        path = folder / SAVED
        try:
            self._rules: Any = Rules.from_file(str(path))
        except Exception as error:  # the library raises nothing more exact
            raise ValueError(f"{path} is no tokenizer that can be read ({error}).") from error
        self._rules.no_padding()
        self._rules.no_truncation()
        self._path = path
        self.end = self._end_token(folder / SAVED_CONFIG)
        self.vocab_size: int = self._rules.get_vocab_size()
        self.fingerprint = sha256_of(path)

    @property
    def beginning(self) -> list[int]:
        """The ids that stand before every text, as Llama's begin-of-text does; often none."""
        whole: list[int] = self._rules.encode(SAMPLE).ids
        own = self.encode(SAMPLE)
        places = (place for place in range(len(whole)) if whole[place : place + len(own)] == own)
        return whole[: next(places, 0)]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._rules.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        import numpy as np

        return [np.array(self.encode(text), np.int32) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._rules.decode(list(ids), skip_special_tokens=False)
        return text

    def token_bytes(self, token: int) -> bytes:
        name: str = self._rules.id_to_token(token) or ""
        if SPACE in name:  # decoded alone, it would lose its space
            return name.replace(SPACE, " ").encode()
        return self.decode([token]).encode()

    def save(self, folder: Path) -> None:
        raise NotImplementedError("a foreign tokenizer is only read")

    def _end_token(self, settings: Path) -> int:
        told = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
        name = told.get("eos_token")
        name = name.get("content") if isinstance(name, dict) else name
        token = None if name is None else self._rules.token_to_id(name)
        if token is None:
            raise ValueError(
                f"{settings} does not name the end token (eos_token) of {self._path.name}; copy the model's own "
                f"{SAVED_CONFIG} there."
            )
        return int(token)


def open_tokenizer(folder: Path) -> tuple[Tokenizer, list[int]]:
    """The tokenizer in a folder, and the ids that its model expects before every text.

    Raises FileNotFoundError or ValueError where there is none, or a damaged one.
    """
    try:
        return load_tokenizer(folder), []
    except ValueError:
        if not (folder / SAVED).is_file():
            raise
    foreign = ForeignTokenizer(folder)
    return foreign, foreign.beginning
