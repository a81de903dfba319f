"""The tokenizer of GPT (2018), facts 1.2: ftfy, spaCy's rule tokenizer, lower case, and BPE with `</w>`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ensue.tokens.tokenizer import GPT1_SUFFIX, SAVED_CONFIG
from ensue.tokens.vocabulary_files import Merges, fingerprint_of, write_merges, write_vocabulary

Gpt1Rules = Literal["release", "transformers-4", "transformers-5"]

UNKNOWN = "<unk>"
NEWLINE = "\n" + GPT1_SUFFIX
CACHED_WORDS = 1 << 18

# The release's pattern was not a raw string, which leaves runs of backslashes alone; transformers 4 spaces them.
PUNCTUATION = {
    "release": re.compile(r'(-+|~+|!+|"+|;+|\?+|\++|,+|\)+|\(+|/+|\*+|\[+|\]+|}+|{+|\|+|_+)'),
    "transformers-4": re.compile(r'(-+|~+|!+|"+|;+|\?+|\++|,+|\)+|\(+|\\+|/+|\*+|\[+|\]+|}+|{+|\|+|_+)'),
}
REPLACED = str.maketrans({"\u2014": "-", "\u2013": "-", "\u2015": "-", "\u2026": "...", "\u00b4": "'"})


class Gpt1Tokenizer:
    """The published GPT tokenizer. It lower-cases and re-spaces, so decode does not invert encode.

    `rules` says how text becomes words. "release" is what the published weights were trained with. "transformers-4" is
    its port there, which lower-cases before spaCy looks for abbreviations ("Mr." becomes two tokens) and spaces
    backslashes. "transformers-5" is what that library does since: BERT's rules, without ftfy and spaCy.
    """

    name = "GPT BPE"
    lossless = False

    def __init__(self, vocabulary: Mapping[str, int], merges: Merges, *, rules: Gpt1Rules = "release") -> None:
        """`vocabulary` maps tokens to ids 0..n-1, `<unk>` and newline+`</w>` among them; `merges` are in rank order.

        Raises ValueError where one of the two is missing, or for rules that do not exist.
        """
        for needed in (UNKNOWN, NEWLINE):
            if needed not in vocabulary:
                raise ValueError(f"the vocabulary has no {needed!r}, so it is not that of the GPT release.")
        if rules not in get_args(Gpt1Rules):
            raise ValueError(f"there are no rules {rules!r} for GPT's tokenizer; use {', '.join(get_args(Gpt1Rules))}.")
        self._vocabulary = dict(vocabulary)
        self._merges = list(merges)
        self._ranks = {merge: rank for rank, merge in enumerate(self._merges)}
        self._rules = rules
        self._unknown = self._vocabulary[UNKNOWN]
        self._ids_of_word: dict[str, list[int]] = {}
        self.vocab_size = len(self._vocabulary)
        # The vocabulary has no token that ends a document; a newline is the nearest thing it has.
        self.end = self._vocabulary[NEWLINE]

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over vocabulary, merges and rules."""
        return fingerprint_of("gpt-bpe", self._vocabulary, self._merges, {"rules": self._rules})

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; symbols outside the vocabulary are `<unk>`. ValueError where ftfy or spaCy is missing."""
        return [token for word in self._words(text) for token in self._encode_word(word)]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text in int32 arrays, one text after another."""
        return [np.array(self.encode(text), np.int32) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The tokens of `ids` with a space for each end of word, stripped. ValueError for an unknown id."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8").strip()

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes of one token, with a space for the end of a word."""
        if not 0 <= token < self.vocab_size:
            raise ValueError(f"Token {token} is not in the vocabulary; its ids are 0 to {self.vocab_size - 1}.")
        return self._token_bytes[token]

    def save(self, folder: Path) -> None:
        """Write vocab.json and merges.txt under the names transformers gives them, and their config."""
        folder.mkdir(parents=True, exist_ok=True)
        write_vocabulary(folder / "vocab.json", self._vocabulary)
        write_merges(folder / "merges.txt", self._merges)
        config = {"tokenizer_class": "OpenAIGPTTokenizer", "unk_token": UNKNOWN, "rules": self._rules}
        (folder / SAVED_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        ordered = sorted(self._vocabulary, key=lambda token: self._vocabulary[token])
        return [token.replace(GPT1_SUFFIX, " ").encode("utf-8") for token in ordered]

    @cached_property
    def _words(self) -> Callable[[str], list[str]]:
        return _bert_words() if self._rules == "transformers-5" else _spacy_words(self._rules)

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._ids_of_word:
            if len(self._ids_of_word) >= CACHED_WORDS:
                self._ids_of_word.clear()
            symbols = self._merge(word)
            self._ids_of_word[word] = [self._vocabulary.get(symbol, self._unknown) for symbol in symbols]
        return self._ids_of_word[word]

    def _merge(self, word: str) -> list[str]:
        """The word's symbols after merging, again and again, every occurrence of the pair of lowest rank."""
        symbols = [*word[:-1], word[-1] + GPT1_SUFFIX]
        while len(symbols) > 1:
            pair = min(pairwise(symbols), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if pair not in self._ranks:
                break
            symbols = _joined(symbols, pair)
        # spaCy leaves the space after a newline on the same word; the release has one token for both.
        return [NEWLINE] if symbols == ["\n", " " + GPT1_SUFFIX] else symbols


def standardise(text: str, rules: Gpt1Rules = "release") -> str:
    """The release's text standardisation: plain dashes and quotes, spaces around punctuation, single spaces."""
    spaced = PUNCTUATION[rules].sub(r" \1 ", text.translate(REPLACED))
    return re.sub(r"[^\S\n]+", " ", re.sub(r"\s*\n\s*", " \n ", spaced)).strip()


def _joined(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    joined, place = [], 0
    while place < len(symbols):
        if tuple(symbols[place : place + 2]) == pair:
            joined.append(pair[0] + pair[1])
            place += 2
        else:
            joined.append(symbols[place])
            place += 1
    return joined


def _spacy_words(rules: Gpt1Rules) -> Callable[[str], list[str]]:
    try:
        import ftfy
        from spacy.lang.en import English
    except ImportError as error:
        raise ValueError(
            f"GPT's tokenizer needs ftfy and spaCy ({error.name} is missing); type: pip install 'ensue[gpt1]'"
        ) from error
    english = English()

    def words(text: str) -> list[str]:
        if rules == "transformers-4":  # one character at a time, newlines aside, as it does
            text = "".join(map(str.lower, text))
        # In a memory zone spaCy forgets the words of each text, which it would otherwise keep for ever.
        with english.memory_zone():
            return [token.text.lower() for token in english.tokenizer(standardise(ftfy.fix_text(text), rules))]

    return words


def _bert_words() -> Callable[[str], list[str]]:
    from tokenizers import normalizers, pre_tokenizers

    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()

    def words(text: str) -> list[str]:
        return [word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]

    return words
