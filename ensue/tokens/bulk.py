"""Bulk encoding: fastokens where it gives exactly what `tokenizers` gives, `tokenizers` where it does not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from tokenizers import Tokenizer

BulkEncoder = Callable[[list[str]], list[np.ndarray]]

# Runs of whitespace of several kinds, apostrophes, combining marks, other scripts, digits and letters outside the Basic
# Multilingual Plane, joiners, private use and unassigned code points: where pre-tokenisers have been seen to differ.
ODD_CHARACTERS = (
    "ab eE's'T're 'll''d1²Ⅷ٣߀  \t\n\r\n\v\f\x00\x1c\x85\u00a0\u00ad\u1680\u180e\u2003\u2028\u200b\u200d\u3000\ufeff"
    'é\u0301ñßİıſK中文，。かな한글हिन्दीעבריתالعربية𝒜𐐀🙂👩‍🚀🇫🇷\ue000\U000e0001\U0010ffff_-—…"#<|endoftext|>'
)
LONG_LENGTHS = (16, 63, 250, 513, 1025)
LONG_ALPHABETS = ("a", "abcdefghij", " ", "\n \t", "0123456789", "=-", "中文字母", "🙂é", "'s", "aA1 .")


def checked_bulk_encoder(reference: Tokenizer) -> BulkEncoder:
    """The fastest encoder whose ids equal `reference`'s on a stress set; the set takes well under 100 ms.

    `reference` has no added tokens, so neither encoder can turn text into a special token.
    """
    fast = _fastokens_encoder(reference)
    slow = _reference_encoder(reference)
    return fast if fast is not None and _agree(fast, slow) else slow


def stress_texts() -> list[str]:
    """Short adversarial strings, and long ones whose single pre-tokens are 16 to 5,000 characters; always the same."""
    chance = random.Random(2018)
    short = ["".join(chance.choices(ODD_CHARACTERS, k=chance.randint(0, 40))) for _ in range(300)]
    long = ["".join(chance.choices(alphabet, k=length)) for alphabet in LONG_ALPHABETS for length in LONG_LENGTHS]
    longest = ["".join(chance.choices(alphabet, k=5000)) for alphabet in LONG_ALPHABETS[:3]]
    return ["", *short, *long, *longest]


def _fastokens_encoder(reference: Tokenizer) -> BulkEncoder | None:
    try:
        import fastokens

        backend = fastokens.Tokenizer.from_json_str(reference.to_str())
    except (ImportError, ValueError):
        return None

    def encode(texts: list[str]) -> list[np.ndarray]:
        flat, offsets = backend.encode_batch_flat(texts)
        ids = np.frombuffer(flat, "<u4").astype(np.int32)
        bounds = np.frombuffer(offsets, "<u8").tolist()
        return [ids[start:stop] for start, stop in pairwise(bounds)]

    return encode


def _reference_encoder(reference: Tokenizer) -> BulkEncoder:
    def encode(texts: list[str]) -> list[np.ndarray]:
        encodings = reference.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encodings]

    return encode


def _agree(fast: BulkEncoder, slow: BulkEncoder) -> bool:
    texts = stress_texts()
    expected = slow(texts)
    return _equal(fast(texts), expected) and all(_agree_in_parallel(fast, slow, line) for line in _lines())


def _agree_in_parallel(fast: BulkEncoder, slow: BulkEncoder, line: str) -> bool:
    """Whether a text long enough to be split among threads has the ids of its lines, which no split may change."""
    times = (1 << 20) // len(line.encode())
    return _equal(fast([line * times]), [np.tile(slow([line])[0], times)])


def _lines() -> Iterator[str]:
    # Each begins with a letter and ends with one newline, so that no pre-token crosses from one to the next.
    chance = random.Random(2019)
    for alphabet in ("abcdefghij  ,.'s\t1", "中文字，。é🙂 12"):
        yield "a" + "".join(chance.choices(alphabet, k=997)) + "z\n"


def _equal(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return len(left) == len(right) and all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))
