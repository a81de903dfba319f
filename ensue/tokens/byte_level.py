"""GPT-2's byte-level BPE: train it on any text, load the published one, encode in bulk."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from ensue.tokens.bulk import BulkEncoder, checked_bulk_encoder
from ensue.tokens.tokenizer import END_OF_TEXT, SAVED, SAVED_CONFIG
from ensue.tokens.vocabulary_files import Merges, fingerprint_of, write_merges, write_vocabulary

BYTES = 256
PIECE_CHARACTERS = 1 << 16
WORD_BYTES, HIGHEST_COST = 8, 8


def byte_symbols() -> list[str]:
    """The character that stands for each byte, in byte order: printable ones themselves, others U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(BYTES)]


class ByteLevelTokenizer:
    """Byte-level BPE with GPT-2's pre-tokenisation; any text without lone surrogates survives encode and decode."""

    name = "byte-level BPE"
    lossless = True

    def __init__(self, vocabulary: Mapping[str, int], merges: Merges, *, end_token: str = END_OF_TEXT) -> None:
        """`vocabulary` maps tokens, in GPT-2's spelling of bytes, to ids 0..n-1; `merges` are in rank order.

        Raises ValueError where a byte or the end token is missing, or a merge makes no token.
        """
        missing = [byte for byte, symbol in enumerate(byte_symbols()) if symbol not in vocabulary]
        if missing:
            raise ValueError(
                f"the vocabulary has no token for {len(missing)} of the 256 bytes (first: {missing[0]}), so it cannot "
                "encode every text; use a byte-level one such as GPT-2's."
            )
        if end_token not in vocabulary:
            raise ValueError(
                f"the vocabulary has no {end_token!r} to separate documents; add it, or name another as eos_token in "
                f"{SAVED_CONFIG}."
            )
        self._vocabulary = dict(vocabulary)
        self._merges = list(merges)
        self._end_token = end_token
        self._backend = _backend(self._vocabulary, self._merges)
        self.vocab_size = len(self._vocabulary)
        self.end = self._vocabulary[end_token]

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over vocabulary, merges and end token."""
        return fingerprint_of("byte-level-bpe", self._vocabulary, self._merges, {"end": self._end_token})

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; "<|endoftext|>" in it is ordinary text. ValueError for a lone surrogate."""
        _refuse_surrogates(text)
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text in int32 arrays, through the fastest exact encoder there is."""
        try:
            return self._bulk(list(texts))
        except (UnicodeEncodeError, TypeError):
            for text in texts:
                _refuse_surrogates(text)
            raise

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD. ValueError for an id outside the vocabulary."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token. ValueError for an id outside the vocabulary."""
        if not 0 <= token < self.vocab_size:
            raise ValueError(f"Token {token} is not in the vocabulary; its ids are 0 to {self.vocab_size - 1}.")
        return self._token_bytes[token]

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and its config (transformers), and vocab.json with merges.txt (llama.cpp, others)."""
        folder.mkdir(parents=True, exist_ok=True)
        saved = _backend(self._vocabulary, self._merges)
        saved.add_special_tokens([AddedToken(self._end_token, normalized=False, special=True)])
        (folder / SAVED).write_text(saved.to_str(pretty=True), encoding="utf-8")
        end = self._end_token
        # Versions 4 and 5 of transformers both know this class; they find the ids in tokenizer.json.
        names = {"tokenizer_class": "GPT2Tokenizer", "bos_token": end, "eos_token": end, "unk_token": end}
        config = {**names, "add_prefix_space": False, "clean_up_tokenization_spaces": False}
        (folder / SAVED_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        write_vocabulary(folder / "vocab.json", self._vocabulary)
        write_merges(folder / "merges.txt", self._merges)

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        byte_of = {symbol: byte for byte, symbol in enumerate(byte_symbols())}
        table = [b""] * self.vocab_size
        for token, number in self._vocabulary.items():
            spelt = all(character in byte_of for character in token)
            # An added special token may hold characters that spell no byte; it stands for itself.
            table[number] = bytes(byte_of[character] for character in token) if spelt else token.encode("utf-8")
        return table

    @cached_property
    def _bulk(self) -> BulkEncoder:
        return checked_bulk_encoder(self._backend)


def train_byte_level(
    texts: Iterator[str],
    *,
    vocab_size: int,
    or_fewer: bool = False,
    max_bytes: int = 32 << 20,
    on_document: Callable[[int, int], None] = lambda documents, text_bytes: None,
) -> ByteLevelTokenizer:
    """Learn a vocabulary of `vocab_size`: the 256 bytes, merges seen twice or more, and `<|endoftext|>` last.

    Of more than `max_bytes` of UTF-8 text (an eighth of it for Chinese and the like, see `_cost`) an even sample is
    used, the same on every run. `on_document` is called with the documents and bytes read so far. Raises ValueError for
    a size that is too small, or, unless `or_fewer`, larger than the text supports, saying the largest that it does.
    """
    smallest = BYTES + 1
    if vocab_size < smallest:
        raise ValueError(f"A vocabulary of {vocab_size} is too small: 256 bytes and {END_OF_TEXT} make {smallest}.")
    sample = _even_sample(texts, max_bytes, on_document)
    if not any(sample):
        raise ValueError("There is no text to train a tokenizer on; give files or folders that hold some.")
    backend = _backend({}, [])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(sample, trainer)
    learnt = json.loads(backend.to_str())["model"]
    vocabulary = {**learnt["vocab"], END_OF_TEXT: len(learnt["vocab"])}
    if len(vocabulary) < vocab_size and not or_fewer:
        raise ValueError(
            f"This text supports a vocabulary of at most {len(vocabulary)}, not {vocab_size}: no other pair of tokens "
            f"occurs twice. Ask for {len(vocabulary)} or fewer, or give more text."
        )
    return ByteLevelTokenizer(vocabulary, [(left, right) for left, right in learnt["merges"]])


def _backend(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    try:
        backend = Tokenizer(models.BPE(vocabulary, merges))
    except Exception as error:  # tokenizers raises no narrower class
        raise ValueError(f"the merges do not fit the vocabulary ({error}); they are not of one tokenizer.") from error
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    return backend


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The text holds a lone surrogate (U+{ord(text[error.start]):04X} at character {error.start}), which is no "
            'text; replace it first: text.encode("utf-8", "replace").decode("utf-8").'
        ) from error


def _even_sample(texts: Iterator[str], max_bytes: int, on_document: Callable[[int, int], None]) -> list[str]:
    """All pieces of all texts while they fit; beyond that those whose hash is below a bound that halves as needed.

    A piece's hash decides alone, so the sample is even over a stream of unknown length, and the same on every run.
    """
    kept: list[tuple[int, int, str]] = []
    held, bound, seen = 0, 1 << 32, 0
    for documents, text in enumerate(texts, start=1):
        _refuse_surrogates(text)
        for piece in _pieces(text):
            encoded = piece.encode("utf-8")
            seen += len(encoded)
            place = zlib.crc32(encoded)
            if place < bound:
                kept.append((place, _cost(encoded), piece))
                held += kept[-1][1]
            while held > max_bytes and len(kept) > 1:
                bound //= 2
                kept = [item for item in kept if item[0] < bound]
                held = sum(cost for _, cost, _ in kept)
        on_document(documents, seen)
    return [piece for _, _, piece in kept]


def _cost(piece: bytes) -> int:
    """What a piece costs to train on, in bytes of text with spaces.

    The trainer works on distinct words, and takes about 90 bytes of memory and 1.5 us for each byte of them. Between
    few spaces words are long and hardly ever repeat: 12 MB of Chinese verse cost it 1 GB, 28 MB of English 0.4 GB.
    """
    mean = len(piece) / (1 + piece.count(b" ") + piece.count(b"\n"))
    return int(len(piece) * min(HIGHEST_COST, max(1.0, mean / WORD_BYTES)))


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces of at most 65,536 characters, cut before a space where there is one."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        cut = text.rfind(" ", start + 1, start + PIECE_CHARACTERS)
        cut = cut if cut > start else start + PIECE_CHARACTERS
        yield text[start:cut]
        start = cut
    yield text[start:]
