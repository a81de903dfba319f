"""What a tokenizer is, and how the published and the saved ones are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ensue.tokens.vocabulary_files import checked_vocabulary, read_json, read_merges, read_vocabulary

if TYPE_CHECKING:
    import numpy as np

SAVED, SAVED_CONFIG = "tokenizer.json", "tokenizer_config.json"
FILE_PAIRS = (
    ("vocab.json", "merges.txt"),
    ("encoder.json", "vocab.bpe"),
    ("encoder_bpe_40000.json", "vocab_40000.bpe"),
)
END_OF_TEXT = "<|endoftext|>"
GPT1_SUFFIX = "</w>"


class Tokenizer(Protocol):
    """Text to token ids and back. Every id is 0 <= id < vocab_size."""

    @property
    def name(self) -> str:
        """A few words for people: which kind this is."""

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""

    @property
    def end(self) -> int:
        """The token that separates documents."""

    @property
    def lossless(self) -> bool:
        """Whether decode(encode(text)) == text for every text without lone surrogates."""

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over vocabulary, merges and rules; equal fingerprints give equal ids for every text."""

    def encode(self, text: str) -> list[int]:
        """The ids of `text`. Adds no special tokens, and text that spells one is encoded as ordinary text.

        Raises ValueError for a lone surrogate, which is not text.
        """

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, as `encode` gives them, in int32 arrays; the fast way for much text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The joined `token_bytes` of `ids` as UTF-8, wrong bytes made U+FFFD; if not lossless, also stripped."""

    def token_bytes(self, token: int) -> bytes:
        """The bytes one token stands for, possibly a part of a character."""

    def save(self, folder: Path) -> None:
        """Write files from which `load_tokenizer` and transformers' AutoTokenizer read the same tokenizer."""


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a folder: what `save` wrote, a Hugging Face model, or an original GPT or GPT-2 release.

    Raises FileNotFoundError where there is no such folder, ValueError where it holds no tokenizer Ensue can read or a
    damaged one, naming the file.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder} to read a tokenizer from.")
    for vocabulary_name, merges_name in FILE_PAIRS:
        vocabulary_path, merges_path = folder / vocabulary_name, folder / merges_name
        if vocabulary_path.is_file() and merges_path.is_file():
            return _build(read_vocabulary(vocabulary_path), read_merges(merges_path), vocabulary_path)
    if (folder / SAVED).is_file():
        return _build(*_read_tokenizer_json(folder / SAVED), folder / SAVED)
    pairs = ", ".join(f"{vocabulary} with {merges}" for vocabulary, merges in FILE_PAIRS)
    raise ValueError(f"{folder} holds no tokenizer. One is read from {pairs}, or {SAVED}.")


def _build(vocabulary: dict[str, int], merges: list[tuple[str, str]], path: Path) -> Tokenizer:
    settings_path = path.parent / SAVED_CONFIG
    settings = read_json(settings_path) if settings_path.is_file() else {}
    if not isinstance(settings, dict):
        raise ValueError(f"{settings_path} is not a tokenizer's settings: it should be a JSON object.")
    try:
        if "\n" + GPT1_SUFFIX in vocabulary:  # no byte-level token holds a bare newline
            from ensue.tokens.gpt1 import Gpt1Tokenizer

            return Gpt1Tokenizer(vocabulary, merges, rules=settings.get("rules", "release"))
        from ensue.tokens.byte_level import ByteLevelTokenizer

        return ByteLevelTokenizer(vocabulary, merges, end_token=_end_token(vocabulary, settings))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _end_token(vocabulary: dict[str, int], settings: dict[str, Any]) -> str:
    declared = settings.get("eos_token")
    if isinstance(declared, dict):  # transformers before 5 writes the token with its flags
        declared = declared.get("content")
    return declared if isinstance(declared, str) and declared in vocabulary else END_OF_TEXT


def _read_tokenizer_json(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary (added tokens included) and merges of a `tokenizer.json`, refusing rules but GPT's and GPT-2's."""
    data = read_json(path)
    try:
        model, before = data["model"], data["pre_tokenizer"] or {}
        vocabulary = dict(model["vocab"])
        vocabulary.update({token["content"]: token["id"] for token in data.get("added_tokens", [])})
        merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
        gpt2 = before.get("type") == "ByteLevel" and before.get("use_regex", True) and not data["normalizer"]
        gpt2 = gpt2 and not before["add_prefix_space"]
        gpt1 = model.get("end_of_word_suffix") == GPT1_SUFFIX and before.get("type") == "BertPreTokenizer"
        plain = not model.get("ignore_merges") and all(len(merge) == 2 for merge in merges)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a byte-pair tokenizer's ({error!r}); use one with GPT-2's byte-level rules, "
            "or train one with `ensue tokenizer`."
        ) from error
    if not (gpt1 or gpt2) or not plain:
        raise ValueError(
            f"{path} cuts text by rules that are neither GPT-2's (byte level, its regular expression, no prefix space) "
            "nor GPT's; use a tokenizer that does, or train one with `ensue tokenizer`."
        )
    return checked_vocabulary(vocabulary, path), merges
