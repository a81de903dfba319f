"""The language model as it is unpacked and walked here says what py3langid says, to the last bit."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.filters.language_model import ARRAYS, Identifier, load_language_model

ENGLISH = "All human beings are born free and equal in dignity and rights."


@cache
def ours() -> Identifier:
    return Identifier(load_language_model())


@cache
def theirs() -> Any:
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def test_the_library_says_the_same_of_27_languages(shared_data: Path) -> None:
    with gzip.open(shared_data / "langid" / "udhr.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    pieces = [text[start : start + length] for text in texts for start, length in ((0, 1000), (300, 40), (77, 9))]
    assert [ours().identify(piece) for piece in pieces] == [theirs().classify(piece) for piece in pieces]
    assert ours().languages == frozenset(theirs().labels)


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=60), st.text(alphabet="АБВабвћђљ -éÉa\u0301zZ", max_size=60)))
def test_the_library_says_the_same_of_any_text(text: str) -> None:
    assert ours().identify(text) == theirs().classify(text)
    assert ours().identify(ENGLISH) == theirs().classify(ENGLISH)  # nothing is left of the text before


def test_unpacked_once_and_again_if_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = Identifier(load_language_model()).identify(ENGLISH)
    assert said == theirs().classify(ENGLISH)
    [folder] = (tmp_path / "ensue").iterdir()
    made = (folder / "moves.npy").stat().st_mtime_ns
    assert all(isinstance(getattr(load_language_model(), name).base, np.memmap) for name in ARRAYS)
    assert (folder / "moves.npy").stat().st_mtime_ns == made
    (folder / "moves.npy").write_bytes(b"damaged")
    assert Identifier(load_language_model()).identify(ENGLISH) == said
    assert (folder / "moves.npy").stat().st_size > 1_000_000


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ensue").write_text("a file is in its place")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Identifier(load_language_model()).identify(ENGLISH) == theirs().classify(ENGLISH)
