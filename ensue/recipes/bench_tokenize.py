"""How fast a tokenizer cuts a text here, one document at a time and in bulk."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ensue.recipes.data import choose_vocabulary
from ensue.recipes.display import Display
from ensue.text.python_docs import python_documentation
from ensue.text.read import read_documents
from ensue.text.skips import SkipReport
from ensue.tokens.byte_level import train_byte_level
from ensue.tokens.tokenizer import load_tokenizer

ROUNDS = 3
LARGEST_VOCABULARY = 8192


@dataclass(frozen=True)
class TokenizingSpeed:
    """Medians of `ROUNDS` passes over the same documents; megabytes are of UTF-8."""

    documents: int
    bytes: int
    tokens: int
    bulk_megabytes_per_second: float
    single_megabytes_per_second: float


def bench_tokenize(
    text: Path | None, *, tokenizer_path: Path | None, megabytes: float, display: Display
) -> TokenizingSpeed:
    """Time a tokenizer, a new one as `prepare` would train it unless a folder is named.

    The text is the first `megabytes` of `text`, or of the
    documentation inside this Python installation. Raises ValueError where there is no text."""
    chosen: list[str] = []
    size = 0
    for document in python_documentation() if text is None else read_documents([text], skipped=SkipReport()):
        if size >= megabytes * 1e6:
            break
        chosen.append(document.text)
        size += len(document.text.encode())
    if not chosen:
        raise ValueError(f"{text} holds no text to cut; name a file or a folder that does.")
    display.say(f"{len(chosen):,} documents, {size / 1e6:,.1f} MB")
    vocabulary = choose_vocabulary(size, LARGEST_VOCABULARY)
    tokenizer = (
        load_tokenizer(tokenizer_path) if tokenizer_path else train_byte_level(iter(chosen), vocab_size=vocabulary)
    )
    tokens = sum(len(ids) for ids in tokenizer.encode_batch(chosen))  # the first pass also checks the fast encoder
    return TokenizingSpeed(
        documents=len(chosen),
        bytes=size,
        tokens=tokens,
        bulk_megabytes_per_second=size / 1e6 / _median_seconds(lambda: tokenizer.encode_batch(chosen)),
        single_megabytes_per_second=size / 1e6 / _median_seconds(lambda: [tokenizer.encode(each) for each in chosen]),
    )


def show_tokenizing(speed: TokenizingSpeed, *, as_json: bool) -> str:
    """The figures, for a person or a program."""
    if as_json:
        return json.dumps(asdict(speed), indent=1)
    return (
        f"{speed.tokens:,} tokens, {speed.bytes / speed.tokens:.2f} bytes each\n"
        f"in bulk, as shards are written   {speed.bulk_megabytes_per_second:,.1f} MB/s\n"
        f"one document at a time           {speed.single_megabytes_per_second:,.1f} MB/s"
    )


def _median_seconds(work: Callable[[], object]) -> float:
    readings = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        readings.append(time.perf_counter() - start)
    return statistics.median(readings)
