"""The quality step: its sample, its draw, its errors, and what its report says."""

from __future__ import annotations

import gzip
import json
import pickle
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve

from ensue.core.config import from_dict, to_dict
from ensue.text.curation.step import Arrays, CorpusStep, number_of
from ensue.text.document import Document
from ensue.text.quality.draw import is_kept, keep_probability, pareto_draw, with_other_alpha
from ensue.text.quality.evaluation import read_evaluation
from ensue.text.quality.judging import DROPPED, KnownQuality
from ensue.text.quality.passages import Cutting, Passage, Sample, most_of_part
from ensue.text.quality.report import Judged, report_quality
from ensue.text.quality.step import QualityFilter
from ensue.text.quality.training import feature_matrix, fit, roc_and_auc

GOOD = ["river", "winter", "letter", "mother", "garden", "answer", "evening", "window", "journey", "silence"]
BAD = ["click", "buy", "cheap", "offer", "login", "cookie", "subscribe", "discount", "banner", "casino"]
MEMORY = 1 << 30


def write(words: Sequence[str], seed: int, count: int = 120) -> str:
    chance = random.Random(seed)
    return " ".join(chance.choice([*words, "the", "of", "and"]) for _ in range(count))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "good.jsonl"
    path.write_text("".join(json.dumps({"text": write(GOOD, seed)}) + "\n" for seed in range(120)))
    return path


def crawl(first: int = 1000) -> list[Document]:
    """Five bad ones to a good one."""
    words = [BAD, BAD, GOOD, BAD, BAD, BAD]
    texts = [write(words[seed % 6], first + seed, 60 + seed % 7 * 60) for seed in range(240)]
    return [Document.of(text, f"{number}", {"collection": "web"}) for number, text in enumerate(texts)]


def scans(step: QualityFilter, documents: Sequence[Document], part: int) -> list[Arrays]:
    return [
        step.scan(documents[start : start + part], number_of(0, place, 0))
        for place, start in enumerate(range(0, len(documents), part))
    ]


def test_the_step(reference: Path, tmp_path: Path) -> None:
    step = QualityFilter(reference=(str(reference),), features=1 << 12, passage=100)
    assert isinstance(step, CorpusStep)
    assert pickle.loads(pickle.dumps(step)) == step
    assert from_dict(QualityFilter, json.loads(json.dumps(to_dict(step)))) == step
    documents = crawl()
    for part, name in ((240, "a"), (50, "b"), (50, "c")):
        (tmp_path / name).mkdir()
        figures = step.decide(scans(step, documents, part), tmp_path / name, memory=MEMORY, scratch=tmp_path)
    for file in ("model.npz", "evaluation.json"):  # whatever the parts, if all passages are in the sample
        assert len({(tmp_path / name / file).read_bytes() for name in "abc"}) == 1
    assert figures["reference_documents"] == 120
    assert float(figures["auc"]) > 0.85  # a sixth of the raw text is good, so it cannot be 1
    judge = step.prepare(tmp_path / "a", 0, 1 << 60)
    verdicts = [judge(number, document) for number, document in enumerate(documents)]
    assert verdicts == [step.prepare(tmp_path / "b", 0, 1 << 60)(0, document) for document in documents]
    scores = [float(verdict.facts["score"]) for verdict in verdicts]
    assert min(scores[2::6]) > max(score for place, score in enumerate(scores) if place % 6 != 2)
    for document, verdict, score in zip(documents, verdicts, scores, strict=True):
        kept = is_kept(score, pareto_draw(0, document.id, 9.0))
        assert verdict.documents == ((document,) if kept else ())
        assert verdict.reason == ("" if kept else DROPPED)


@pytest.mark.parametrize(("good", "bad", "strength"), [(60, 60, 10.0), (90, 40, 0.5), (3, 50, 100.0)])
def test_the_fit_is_scikit_learns(good: int, bad: int, strength: float) -> None:
    cutting = Cutting(0, 1 << 12, 50, 0.2)
    sides = [
        [found for number in range(count) for found in cutting.passages(document(words, number), 1 << 64)]
        for words, count in ((GOOD, good), (BAD, bad))
    ]
    weights, bias = fit(*sides, features=1 << 12, passage=50, strength=strength)
    oracle = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    matrix = feature_matrix([*sides[0], *sides[1]], 1 << 12, 50)
    oracle.fit(matrix, np.repeat([1, 0], [len(side) for side in sides]))
    assert np.abs(weights - oracle.coef_[0]).max() < 1e-4 * np.abs(weights).max()
    assert abs(bias - oracle.intercept_[0]) < 1e-4


@given(st.lists(st.integers(0, 9), min_size=1), st.lists(st.integers(0, 9), min_size=1))
def test_the_roc_is_scikit_learns(good: list[int], bad: list[int]) -> None:
    scores = [np.array(side) / 10 for side in (good, bad)]
    labels = np.repeat([1, 0], [len(good), len(bad)])
    false, true, _ = roc_curve(labels, np.concatenate(scores), drop_intermediate=False)
    found = roc_and_auc(*scores)
    np.testing.assert_allclose(found[0], false)
    np.testing.assert_allclose(found[1], true)
    assert found[2] == pytest.approx(roc_auc_score(labels, np.concatenate(scores)))


def document(words: Sequence[str], seed: int) -> Document:
    return Document.of(write(words, seed), f"{words[0]} {seed}", {})


def test_collections_that_are_not_judged_pass(reference: Path, tmp_path: Path) -> None:
    step = QualityFilter(reference=(str(reference),), features=1 << 12, only=("web",))
    books = [Document.of(write(BAD, 5), "b", {"collection": "books"})]
    documents = crawl()
    alone, mixed = step.scan(documents, 0), step.scan([*documents, *books], 0)
    assert all(np.array_equal(alone[name], mixed[name]) for name in alone)
    step.decide([mixed], tmp_path, memory=MEMORY, scratch=tmp_path)
    verdict = step.prepare(tmp_path, 0, 1)(0, books[0])
    assert verdict.documents == (books[0],)
    assert verdict.facts == {}


def test_report(reference: Path, tmp_path: Path) -> None:
    step = QualityFilter(reference=(str(reference),), features=1 << 12, alpha=3.0, strength=1.0)
    documents = crawl()
    step.decide(scans(step, documents, 100), tmp_path, memory=MEMORY, scratch=tmp_path)
    judge = step.prepare(tmp_path, 0, 1 << 60)

    def judged() -> list[Judged]:
        facts = [judge(0, document).facts for document in documents]
        pairs = zip(documents, facts, strict=True)
        return [Judged(float(f["score"]), float(f["draw"]), len(d.text), d.meta["collection"]) for d, f in pairs]

    report = report_quality(judged(), 3.0)
    kept = [document for document in documents if judge(0, document).documents]
    assert (report.everything.documents, report.everything.documents_kept) == (240, len(kept))
    assert report.everything.bytes_kept == sum(len(document.text) for document in kept)
    for shares in (report.by_score, report.by_length, report.by_collection):
        assert sum(share.documents_kept for share in shares) == len(kept)
        assert sum(share.bytes for share in shares) == report.everything.bytes
    # Another alpha keeps what a run with it would have kept.
    other = KnownQuality(str(tmp_path / "model.npz")).prepare()
    rerun = [document for document in documents if other(document).documents]
    assert next(share.documents_kept for share in report.by_alpha if share.name == "9") == len(rerun)
    evaluation = read_evaluation((tmp_path / "evaluation.json").read_bytes())
    assert evaluation.roc[0] == (0.0, 0.0)
    assert evaluation.roc[-1] == (1.0, 1.0)
    assert sum(evaluation.reference_scores) == evaluation.reference
    named = {token for each in evaluation.decisive if each.weight > 0 for token in each.tokens[:1]}
    assert set(GOOD) <= named
    assert set(BAD) <= {token for each in evaluation.decisive if each.weight < 0 for token in each.tokens[:1]}


def test_a_reference_that_is_no_use(reference: Path, tmp_path: Path) -> None:
    documents = crawl()

    def decide(step: QualityFilter, raw: Sequence[Document], memory: int = MEMORY) -> None:
        step.decide([step.scan(raw, 0)], tmp_path, memory=memory, scratch=tmp_path)

    step = QualityFilter(reference=(str(reference),), features=1 << 12)
    with pytest.raises(ValueError, match="at least 50 documents on each side, and there are 49 that come in"):
        decide(step, documents[:49])
    with pytest.raises(ValueError, match="may take 11 MB, and 1 MB are allowed; allow more, or take a smaller sample"):
        decide(step, documents, memory=1 << 20)
    few = tmp_path / "few.txt"
    few.write_text("Only one document.")
    with pytest.raises(ValueError, match="and there are 1 in the reference; name more files"):
        decide(QualityFilter(reference=(str(few),)), documents)
    same = tmp_path / "same.jsonl"
    same.write_text("".join(json.dumps({"text": document.text}) + "\n" for document in documents))
    with pytest.raises(ValueError, match="in the reference too, so there is nothing to tell apart"):
        decide(QualityFilter(reference=(str(same),), features=1 << 12), documents)
    alike = tmp_path / "alike.jsonl"
    alike.write_text("".join(json.dumps({"text": document.text}) + "\n" for document in crawl(5000)))
    with pytest.raises(ValueError, match=r"cannot tell the reference .* AUC is 0\.[45]"):
        decide(QualityFilter(reference=(str(alike),), features=1 << 12), documents)
    with pytest.raises(FileNotFoundError):
        decide(QualityFilter(reference=(str(tmp_path / "none"),)), documents)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": 1000}, "power of two"),
        ({"alpha": 0.0}, "alpha must be"),
        ({"held_out": 1.0}, "held_out must be"),
        ({"passage": 0}, "passage must be"),
        ({"reference": ()}, "list of files"),
        ({"reference": "books"}, "list of files"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QualityFilter(**{"reference": ("x",), **settings})  # type: ignore[arg-type]


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no quality model .*none\.npz'; train one with QualityFilter"):
        KnownQuality(str(tmp_path / "none.npz")).prepare()


def passage(key: int) -> Passage:
    return Passage(key, False, key, key, np.zeros(1, np.int32), np.ones(1, np.uint16))


@given(
    st.sets(st.integers(0, 1000), max_size=60),
    st.integers(1, 20),
    st.lists(st.integers(0, 1000), max_size=3),
    st.randoms(),
)
def test_a_sample_is_the_lowest_keys_in_any_order(
    keys: set[int], most: int, limits: list[int], chance: random.Random
) -> None:
    order: list[int | tuple[int]] = [*keys, *((limit,) for limit in limits)]
    chance.shuffle(order)
    sample = Sample(most)
    for each in order:
        if isinstance(each, tuple):
            sample.limit(each[0])
        else:
            sample.add([passage(each)])
    lowest = [key for key in sorted(keys) if key < min(limits, default=1001)][:most]
    assert [each.key for each in sample.result()] == lowest


def test_parts_store_fewer_passages_the_later_they_are() -> None:
    stored = [
        most_of_part(number_of(unit, part, 0)) for unit, part in ((0, 0), (0, 1), (1, 0), (3, 6), (0, 500), (9000, 0))
    ]
    assert stored == [2000, 1000, 1000, 200, 100, 100]


def test_a_sample_of_many_parts_is_fair(reference: Path) -> None:
    step = QualityFilter(reference=(str(reference),), features=1 << 8)
    many = [Document.of(f"text number {number}", f"{number}") for number in range(3000)]
    arrays = step.scan(many, number_of(4, 0, 0))  # 400 of them
    keys = arrays["key"].tolist()
    assert len(keys) == 400
    assert keys == sorted(keys)
    assert keys[-1] < int(arrays["limit"][0])
    everything = step.scan(many[:400], 0)["key"].tolist()
    assert sorted(key for key in everything if key < int(arrays["limit"][0])) == sorted(set(everything) & set(keys))


def test_the_draw_is_numpys_pareto() -> None:
    draws = np.array([pareto_draw(3, f"{number:x}", 9.0) for number in range(20_000)])
    assert stats.kstest(draws, stats.lomax(9.0).cdf).pvalue > 0.01
    assert stats.ks_2samp(draws, np.random.default_rng(0).pareto(9, 20_000)).pvalue > 0.01
    for score in (0.0, 0.5, 0.9, 1.0):
        expected = keep_probability(score, 9.0)
        assert np.mean([is_kept(score, draw) for draw in draws]) == pytest.approx(expected, abs=0.012)
    assert keep_probability(0.9, 9.0) == pytest.approx(0.424, abs=5e-4)


@given(st.floats(0.5, 20), st.floats(0.5, 20), st.text(max_size=5))
def test_another_alpha_draws_by_the_same_chance(alpha: float, other: float, id: str) -> None:
    expected = pareto_draw(0, id, other)
    assert with_other_alpha(pareto_draw(0, id, alpha), alpha, other) == pytest.approx(expected, rel=1e-2, abs=1e-4)


def test_poems_are_told_from_shuffled_ones(shared_data: Path, tmp_path: Path) -> None:
    with gzip.open(shared_data / "chinese" / "tang_poems_valid.jsonl.gz", "rt", encoding="utf-8") as file:
        poems = [json.loads(line)["text"] for line in file]
    chance = random.Random(0)
    shuffled = [Document.of("".join(chance.sample(poem, len(poem))), f"{n}") for n, poem in enumerate(poems[600:1200])]
    path = tmp_path / "poems.jsonl"
    path.write_text("".join(json.dumps({"text": poem}) + "\n" for poem in poems[:600]))
    step = QualityFilter(reference=(str(path),), features=1 << 16)
    figures = step.decide([step.scan(shuffled, 0)], tmp_path, memory=MEMORY, scratch=tmp_path)
    assert float(figures["auc"]) > 0.9
