"""The compiled kernel beside its twins: tokens in Python, hashes and scores by scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.utils import murmurhash3_32

from ensue.text.quality.model import QualityModel
from ensue.text.quality.scoring import Scorer, buckets_of
from ensue.text.quality.tokens import TABLE_SIZE, character_table, kind_of, tokens, tokens_by_piece

FEATURES = 1 << 12
texts = st.text(
    st.one_of(
        st.sampled_from("ab C'd_9 .\n中文字的日本ไทยກາမြ한국éΣİßǅ\u0301"),
        st.characters(),
        st.characters(exclude_categories=["Cs"], max_codepoint=0x2FF),
        st.characters(min_codepoint=0x3000, max_codepoint=0x9FFF),
    ),
    max_size=80,
)


def test_tokens() -> None:
    text = "Hello World's 你好世界, x的y İΣ e\u0301a_b 3.14"
    expected = ["hello", "world", "s", "你好", "好世", "世界", "x", "的", "y", "iσ", "e\u0301a", "b", "3", "14"]
    assert tokens(text) == expected
    assert tokens("") == tokens(" .,\n") == []


def test_table_says_what_the_twin_says() -> None:
    table = character_table()
    codes = [*range(0x3000), *range(0x3000, TABLE_SIZE, 7)]
    assert [int(table[code]) >> 24 for code in codes] == [kind_of(chr(code)) for code in codes]


@settings(max_examples=400)
@given(texts)
def test_buckets_are_murmur_hashes_of_the_tokens(text: str) -> None:
    hashes = [int(murmurhash3_32(token.encode("utf-8", "surrogatepass"))) for token in tokens(text)]
    assert buckets_of(text, 1 << 18).tolist() == [abs(value) % (1 << 18) for value in hashes]


def scores_by_scikit_learn(model: QualityModel, text: str) -> float:
    """The model's rule through HashingVectorizer and TfidfTransformer."""
    found = tokens(text)
    parts = [found[start : start + model.passage] for start in range(0, len(found), model.passage)]
    if not parts:
        return float(1 / (1 + np.exp(-model.bias)))
    hashing = HashingVectorizer(n_features=len(model.weights), analyzer=list, alternate_sign=False, norm=None)
    rows = TfidfTransformer(use_idf=False, sublinear_tf=True, norm="l2").fit_transform(hashing.transform(parts))
    logits = rows @ model.weights.astype(np.float64) + model.bias
    return float(1 / (1 + np.exp(-np.average(logits, weights=list(map(len, parts))))))


def model_of(seed: int, passage: int) -> QualityModel:
    weights = np.random.default_rng(seed).normal(size=FEATURES).astype(np.float32)
    return QualityModel(weights, 0.3, passage, {"alpha": 9.0})


@settings(max_examples=100)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text("ab c", max_size=60), max_size=5)
)
def test_scores_equal_scikit_learns(batch: list[str]) -> None:
    for passage in (3, 1000):
        model = model_of(0, passage)
        scorer = Scorer(model)
        together = scorer.scores(batch)
        assert together == pytest.approx([scores_by_scikit_learn(model, text) for text in batch], abs=1e-6)
        assert [scorer.score(text) for text in batch] == together.tolist()


def test_long_documents_and_many() -> None:
    scorer = Scorer(model_of(1, 100))
    texts = ["word " * 40_000, "", "文" * 50_000, *(f"text number {number}" for number in range(500))] * 8
    together = scorer.scores(texts)  # more than is scored in one call
    assert together.tolist() == [scorer.score(text) for text in texts]
    assert scorer.scores([]).tolist() == []


def test_model_file(tmp_path: Path) -> None:
    model = model_of(2, 50)
    model.weights[::3] = 0
    for name in ("a.npz", "b.npz"):
        model.save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = QualityModel.load(tmp_path / "a.npz")
    assert (loaded.bias, loaded.passage, loaded.settings) == (0.3, 50, {"alpha": 9.0})
    np.testing.assert_array_equal(loaded.weights, model.weights)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    with pytest.raises(FileNotFoundError):
        QualityModel.load(path)
    model_of(2, 50).save(path)
    whole = path.read_bytes()
    for data in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"model\.npz is not a quality model"):
            QualityModel.load(path)
    np.savez(path, weights=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="is not a quality model"):
        QualityModel.load(path)


@given(texts)
def test_pieces_give_the_same_tokens(text: str) -> None:
    assert tokens_by_piece(text) == tokens(text)
