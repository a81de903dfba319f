"""Signatures and sets: the kernel beside its plain twin, and beside Python's own sets of words."""

import re
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.duplicates import shingles
from ensue.text.duplicates.hashing import CHARACTERS, WORDS
from ensue.text.duplicates.plain_shingles import plain_keys, plain_kind, plain_shingles
from ensue.text.duplicates.shingles import sketch

pytest.importorskip("numba", reason="near-duplicates need the extra 'corpus'")

KINDS = {"words": WORDS, "characters": CHARACTERS}
LETTERS = st.text(alphabet="ab AB1.,’“ \u00a0é\n", max_size=120)
UNSPACED = st.text(alphabet="春眠不覺曉，。？ a１！ไท々\U00020000", max_size=80)
TEXTS = st.lists(st.one_of(LETTERS, UNSPACED, st.text(max_size=80), st.just("\udc80 lone")), max_size=6)


@settings(max_examples=150)
@given(texts=TEXTS, shingle=st.sampled_from(["auto", "words", "characters"]), size=st.integers(1, 6))
def test_kernel_and_twin_agree(texts, shingle, size):
    found = sketch(texts, shingle=shingle, size=size, bands=3, rows=2)
    ends = np.cumsum(found.counts)
    for row, text in enumerate(texts):
        kind = plain_kind(text) if shingle == "auto" else KINDS[shingle]
        expected = plain_shingles(text, kind, size)
        assert found.hashes[ends[row] - found.counts[row] : ends[row]].tolist() == sorted(set(expected))
        if expected:
            assert found.keys[row].tolist() == plain_keys(expected, kind, 3, 2)


def test_twin_agrees_over_more_than_a_block():
    text = " ".join(f"word{n * n % 977}" for n in range(5000))
    for shingle, kind in KINDS.items():
        found = sketch([text], shingle=shingle)
        expected = plain_shingles(text, kind, 5)
        assert found.hashes.tolist() == sorted(set(expected))
        assert found.keys[0].tolist() == plain_keys(expected, kind, 14, 8)


@pytest.mark.parametrize("size", [1, 5, 1500])
@pytest.mark.parametrize("letters", [3, 1023, 1024, 1025, 2048, 4000])
def test_twin_agrees_where_blocks_end(letters, size):
    text = "".join(f"{chr(0x4E00 + n * n % 977)}, a"[: 1 + n % 4] for n in range(letters))
    found = sketch([text], shingle="characters", size=size, bands=2, rows=2)
    expected = plain_shingles(text, CHARACTERS, size)
    assert found.hashes.tolist() == sorted(set(expected))
    assert found.keys[0].tolist() == plain_keys(expected, CHARACTERS, 2, 2)


def test_sets_are_those_of_python():
    texts = ["the cat sat on the mat, and the cat sat on the hat", "The cat -- sat on the MAT; and the dog did not"]
    found = sketch(texts, shingle="words", size=2)
    sets = []
    for text in texts:
        words = re.findall(r"[a-z0-9]+", text.lower())
        sets.append(set(pairwise(words)))
    one, other = (set(part.tolist()) for part in np.split(found.hashes, [found.counts[0]]))
    assert len(one & other) / len(one | other) == len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_marks_spaces_and_case_do_not_count():
    found = sketch(["Don't say “so”—again, he said", 'don’t say "so" -- AGAIN he\u00a0said'])
    assert found.keys[0].tolist() == found.keys[1].tolist()
    found = sketch(["春眠不覺曉，處處聞啼鳥。", "春眠不覺曉\n處處聞啼鳥"])
    assert found.keys[0].tolist() == found.keys[1].tolist()


def test_auto_tells_scripts_apart_and_they_never_meet():
    chinese, english, thai, korean = (
        "春眠不覺曉處處聞啼鳥",
        "one two three four five",
        "ภาษาไทยไม่มีช่องว่าง",
        "한국어는 낱말을 띄어 쓴다",
    )
    assert [plain_kind(text) for text in (chinese, english, thai, korean)] == [CHARACTERS, WORDS, CHARACTERS, WORDS]
    as_words, as_characters = (sketch(["a", "b"], shingle=kind, bands=20, rows=1) for kind in ("words", "characters"))
    assert not set(as_words.keys.ravel().tolist()) & set(as_characters.keys.ravel().tolist())


def test_estimates_are_unbiased_beside_datasketch():
    """The share of equal minima estimates Jaccard as closely as the standard library for it does."""
    datasketch = pytest.importorskip("datasketch", reason="datasketch is not installed; it is the oracle here")
    rng = np.random.default_rng(5)
    ours, theirs = [], []
    for changed in (0, 5, 15, 40):
        words = [f"w{n}" for n in rng.integers(0, 10**6, 300)]
        edited = words.copy()
        for place in rng.choice(300, changed, replace=False):
            edited[place] = f"x{place}"
        found = sketch([" ".join(words), " ".join(edited)], shingle="words", size=1, bands=256, rows=1)
        sets = [set(words), set(edited)]
        truth = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        ours.append(float((found.keys[0] == found.keys[1]).mean()) - truth)
        hashes = [datasketch.MinHash(256) for _ in sets]
        for hashed, members in zip(hashes, sets, strict=True):
            hashed.update_batch([word.encode() for word in members])
        theirs.append(hashes[0].jaccard(hashes[1]) - truth)
    assert max(map(abs, ours)) < 0.1
    assert max(map(abs, theirs)) < 0.1


def test_long_texts_keep_a_fair_sample(monkeypatch):
    monkeypatch.setattr(shingles, "WHOLE_SETS", 2000)
    monkeypatch.setattr(shingles, "LONG_TEXT", 100_000)
    rng = np.random.default_rng(0)
    words = [f"{n:x}" for n in rng.integers(0, 2**40, 60_000)]
    edited = words[:50_000] + [f"{n:x}" for n in rng.integers(0, 2**40, 10_000)]
    found = sketch([" ".join(words), " ".join(edited)], shingle="words")
    assert found.counts.tolist() == [2000, 2000]
    limit = min(found.limits)
    sets = [set(part[part <= limit].tolist()) for part in np.split(found.hashes, [2000])]
    assert len(sets[0] & sets[1]) / len(sets[0] | sets[1]) == pytest.approx(5 / 7, abs=0.04)


def test_nothing_and_little():
    assert sketch([]).keys.shape == (0, 14)
    assert sketch(["", " .,!", "one", "one two"]).counts.tolist() == [0, 0, 1, 1]


def test_every_number_of_bands_and_rows():
    for bands, rows in product((1, 3), (1, 4)):
        assert sketch(["a b c", "d e f"], bands=bands, rows=rows).keys.shape == (2, bands)
