"""Two corpora compared: text like the held-out text wins, equal text shows no difference, and small text is refused."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from ensue.recipes.corpora.compare import _compare, compare_corpora, describe
from ensue.recipes.display import Display


def words(letters: str, seed: int) -> list[str]:
    """A language of 400 words."""
    chance = random.Random(seed)
    return ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(400)]


SEA, LAW = words("aeioulmnrsw", 1), words("aeickptgdbx", 2)


def write_documents(path: Path, words: list[str], seed: int) -> Path:
    chance = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(40):
            file.write(json.dumps({"text": " ".join(chance.choices(words, k=150)) + "."}) + "\n")
    return path


def test_text_like_the_held_out_text_teaches_more(tmp_path: Path) -> None:
    like = write_documents(tmp_path / "like.jsonl", SEA, 1)
    unlike = write_documents(tmp_path / "unlike.jsonl", LAW, 2)
    held = write_documents(tmp_path / "held.jsonl", SEA, 3)
    found = compare_corpora(
        unlike,
        like,
        tmp_path / "out",
        tokens=40_000,
        seeds=2,
        model="gpt2-micro",
        held_out=held,
        display=Display(quiet=True),
    )
    assert found.high < 0
    assert len(found.by_seed) == 2
    assert "like.jsonl teaches more" in describe(found, unlike, like)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == json.loads(json.dumps(asdict(found)))
    assert (tmp_path / "out" / "compare.png").stat().st_size > 1000


def test_the_interval_is_of_paired_pieces() -> None:
    chance = np.random.default_rng(0)
    sizes = np.full(400, 1000.0)
    hard = chance.normal(2000, 800, 400)  # the spread between pieces is in both, and so cancels
    found = _compare(hard[None], hard[None] + 10 + chance.normal(0, 20, (1, 400)), sizes, tokens=1)
    assert found.low < 0.01 < found.high
    assert found.high - found.low < 0.006
    same = _compare(hard[None], hard[None], sizes, tokens=1)
    assert (same.low, same.difference, same.high) == (0, 0, 0)
    assert "no difference" in describe(same, Path("a"), Path("b"))


def test_too_little_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One short text.")
    with pytest.raises(ValueError, match="--held-out TEXT"):
        compare_corpora(
            tmp_path / "a.txt",
            tmp_path / "a.txt",
            tmp_path / "out",
            tokens=1000,
            seeds=1,
            model="gpt2-micro",
            held_out=None,
            display=Display(quiet=True),
        )
    assert not (tmp_path / "out").exists()
