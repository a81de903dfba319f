"""The classifier fitted by scikit-learn, and measured on documents that it was not fitted to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ensue.text.quality.evaluation import Decisive, Evaluation
from ensue.text.quality.passages import Passage
from ensue.text.quality.scoring import buckets_of
from ensue.text.quality.tokens import token_values

SHOWN = 40
ROC_POINTS = 101


def feature_matrix(passages: Sequence[Passage], features: int, passage: int) -> Any:
    """A sparse matrix of 1 + log(count) of each bucket, each row of length 1. (passages, features) float64."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]  # scikit-learn's own

    values = token_values(passage)
    starts = np.concatenate([[0], np.cumsum([len(each.buckets) for each in passages])])
    columns = np.concatenate([each.buckets for each in passages]) if passages else np.zeros(0, np.int32)
    data = np.concatenate([_unit(values[each.counts]) for each in passages]) if passages else np.zeros(0)
    return csr_matrix((data, columns, starts), shape=(len(passages), features))


def fit(
    reference: Sequence[Passage], raw: Sequence[Passage], *, features: int, passage: int, strength: float
) -> tuple[np.ndarray, float]:
    """Weights (features,) float32 and bias of a logistic regression in which both sides weigh the same.

    `strength` is scikit-learn's C: the larger, the less the weights are held back. Raises ValueError where it is not
    installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # which scikit-learn brings
    except ImportError as error:
        raise ValueError("The quality filter needs scikit-learn; type: pip install 'ensue[corpus]'") from error
    matrix = feature_matrix([*reference, *raw], features, passage)
    labels = np.repeat([1, 0], [len(reference), len(raw)])
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    with threadpool_limits(1):  # sums in one order, whatever the number of cores
        model.fit(matrix, labels)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def evaluate(
    reference: Sequence[Passage],
    raw: Sequence[Passage],
    weights: np.ndarray,
    bias: float,
    *,
    passage: int,
    names: Counter[str],
) -> Evaluation:
    """Measure on the held-out passages of both; `names` are tokens that buckets can be named by."""
    from sklearn.metrics import roc_auc_score, roc_curve

    features = len(weights)
    held = [[each for each in side if each.held_out] for side in (reference, raw)]
    scores = [_scores(feature_matrix(side, features, passage), weights, bias) for side in held]
    labels = np.repeat([1, 0], [len(side) for side in scores])
    both = np.concatenate(scores)
    false, true, _ = roc_curve(labels, both, drop_intermediate=False)
    at = np.unique(np.linspace(0, len(false) - 1, ROC_POINTS).round().astype(int))
    bins = [np.histogram(side, bins=10, range=(0, 1))[0].tolist() for side in scores]
    return Evaluation(
        auc=round(float(roc_auc_score(labels, both)), 6),
        roc=tuple((round(float(false[place]), 6), round(float(true[place]), 6)) for place in at),
        reference=len(held[0]),
        raw=len(held[1]),
        trained_reference=len(reference) - len(held[0]),
        trained_raw=len(raw) - len(held[1]),
        reference_scores=tuple(bins[0]),
        raw_scores=tuple(bins[1]),
        decisive=_decisive(reference, raw, weights, passage, names),
    )


def _decisive(
    reference: Sequence[Passage], raw: Sequence[Passage], weights: np.ndarray, passage: int, names: Counter[str]
) -> tuple[Decisive, ...]:
    means = [np.asarray(feature_matrix(side, len(weights), passage).mean(axis=0))[0] for side in (reference, raw)]
    difference = means[0] - means[1]
    influence = np.abs(weights * difference)
    order = np.argsort(-influence, kind="stable")
    order = order[influence[order] > 0]
    chosen = [*order[weights[order] > 0][:SHOWN].tolist(), *order[weights[order] < 0][:SHOWN].tolist()]
    tokens: dict[int, list[str]] = {bucket: [] for bucket in chosen}
    for name in sorted(names, key=lambda name: (-names[name], name)):
        bucket = int(buckets_of(name, len(weights))[0])
        if bucket in tokens:
            tokens[bucket].append(name)
    return tuple(
        Decisive(bucket, float(weights[bucket]), float(weights[bucket] * difference[bucket]), tuple(tokens[bucket]))
        for bucket in chosen
    )


def _scores(matrix: Any, weights: np.ndarray, bias: float) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-(matrix @ weights.astype(np.float64) + bias))))


def _unit(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.sqrt(values @ values))
