"""Accuracy, F1, Matthews' and the correlations are those that scikit-learn and SciPy compute."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.recipes.finetuning import metrics

sklearn = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=60)
@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 999))
def test_of_classes(classes: int, count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    right, said = draw.integers(classes, size=count).tolist(), draw.integers(classes, size=count).tolist()
    assert metrics.accuracy(right, said) == pytest.approx(sklearn.accuracy_score(right, said))
    assert metrics.matthews(right, said, classes=classes) == pytest.approx(sklearn.matthews_corrcoef(right, said))
    if classes == 2:
        theirs = sklearn.f1_score(right, said, pos_label=1, zero_division=0)
    else:
        theirs = sklearn.f1_score(right, said, average="macro", zero_division=0)
    assert metrics.f1(right, said, classes=classes) == pytest.approx(theirs)


@settings(max_examples=40)
@given(st.integers(3, 40), st.integers(0, 999))
def test_of_scores(count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    right, said = draw.integers(6, size=count).tolist(), draw.normal(size=count).round(1).tolist()
    if len(set(right)) > 1 and len(set(said)) > 1:
        assert metrics.pearson(right, said) == pytest.approx(stats.pearsonr(right, said)[0])
        assert metrics.spearman(right, said) == pytest.approx(stats.spearmanr(right, said)[0])


def test_of_what_never_changes() -> None:
    assert metrics.pearson([1, 1, 1], [1, 2, 3]) == 0
    assert metrics.spearman([1, 2, 3], [5, 5, 5]) == 0
    assert metrics.matthews([0, 1], [0, 0], classes=2) == 0
