"""The classifier fitted as scikit-learn fits it, and measured on documents that it was not fitted to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ensue.text.quality.evaluation import Decisive, Evaluation
from ensue.text.quality.passages import Passage
from ensue.text.quality.scoring import buckets_of
from ensue.text.quality.tokens import token_values

SHOWN = 40
ROC_POINTS = 101
NAMES_AT_ONCE = 10_000
TOLERANCE = 1e-4
"""Of the gradient's largest component, where the fit ends."""


def feature_matrix(passages: Sequence[Passage], features: int, passage: int) -> Any:
    """A sparse matrix of 1 + log(count) of each bucket, each row of length 1. (passages, features) float64."""
    from scipy.sparse import csr_matrix

    values = token_values(passage)
    starts = np.concatenate([[0], np.cumsum([len(each.buckets) for each in passages])])
    columns = np.concatenate([each.buckets for each in passages]) if passages else np.zeros(0, np.int32)
    data = np.concatenate([_unit(values[each.counts]) for each in passages]) if passages else np.zeros(0)
    return csr_matrix((data, columns, starts), shape=(len(passages), features))


def fit(
    reference: Sequence[Passage], raw: Sequence[Passage], *, features: int, passage: int, strength: float
) -> tuple[np.ndarray, float]:
    """Weights (features,) float32 and bias of a logistic regression in which both sides weigh the same.

    `strength` is scikit-learn's C: the larger, the less the weights are held back. What is minimised, and by what, is
    as in its LogisticRegression with class_weight="balanced" (L-BFGS from 0; the bias is free), which would take
    longer to load than to fit. Raises ValueError where it is not installed.
    """
    try:
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # which scikit-learn brings
    except ImportError as error:
        raise ValueError("The quality filter needs scikit-learn; type: pip install 'ensue[corpus]'") from error
    matrix = feature_matrix([*reference, *raw], features, passage)
    used = np.unique(matrix.indices)  # the others' weights stay 0
    matrix = matrix[:, used]
    transposed = matrix.T.tocsr()
    rows = len(reference) + len(raw)
    signs = np.repeat([1.0, -1.0], [len(reference), len(raw)])
    shares = np.repeat([0.5 / max(len(reference), 1), 0.5 / max(len(raw), 1)], [len(reference), len(raw)])
    penalty = 1 / (strength * rows)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean loss and penalty, and their gradient; the last parameter is the bias."""
        weights, bias = parameters[:-1], parameters[-1]
        margins = signs * (matrix @ weights + bias)
        slopes = -signs * shares / (1 + np.exp(margins))
        value = (shares * np.logaddexp(0, -margins)).sum() + penalty / 2 * (weights * weights).sum()
        return float(value), np.append(transposed @ slopes + penalty * weights, slopes.sum())

    options = {"maxiter": 1000, "maxls": 50, "gtol": TOLERANCE, "ftol": 64 * np.finfo(float).eps}
    with threadpool_limits(1):  # sums in one order, whatever the number of cores
        found = minimize(loss, np.zeros(len(used) + 1), jac=True, method="L-BFGS-B", options=options).x
    weights = np.zeros(features, np.float32)
    weights[used] = found[:-1]
    return weights, float(found[-1])


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
    features = len(weights)
    held = [[each for each in side if each.held_out] for side in (reference, raw)]
    scores = [_scores(feature_matrix(side, features, passage), weights, bias) for side in held]
    false, true, auc = roc_and_auc(*scores)
    at = np.unique(np.linspace(0, len(false) - 1, ROC_POINTS).round().astype(int))
    bins = [np.histogram(side, bins=10, range=(0, 1))[0].tolist() for side in scores]
    return Evaluation(
        auc=round(auc, 6),
        roc=tuple((round(float(false[place]), 6), round(float(true[place]), 6)) for place in at),
        reference=len(held[0]),
        raw=len(held[1]),
        trained_reference=len(reference) - len(held[0]),
        trained_raw=len(raw) - len(held[1]),
        reference_scores=tuple(bins[0]),
        raw_scores=tuple(bins[1]),
        decisive=_decisive(reference, raw, weights, passage, names),
    )


def roc_and_auc(reference: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Of the scores of both sides: the share of `raw` and that of `reference` at or above each score that there is,
    from above all of them down, and the area under the curve."""
    thresholds = np.unique(np.concatenate([reference, raw]))[::-1]
    above = [len(side) - np.searchsorted(np.sort(side), thresholds) for side in (raw, reference)]
    false, true = np.append(0.0, above[0] / len(raw)), np.append(0.0, above[1] / len(reference))
    return false, true, float((np.diff(false) * (true[1:] + true[:-1])).sum() / 2)


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
    for name, bucket in _buckets_of_names(sorted(names), len(weights)):
        if bucket in tokens:
            tokens[bucket].append(name)
    for found in tokens.values():
        found.sort(key=lambda name: -names[name])
    return tuple(
        Decisive(bucket, float(weights[bucket]), float(weights[bucket] * difference[bucket]), tuple(tokens[bucket]))
        for bucket in chosen
    )


def _buckets_of_names(names: Sequence[str], features: int) -> Iterator[tuple[str, int]]:
    """The bucket of each name, which is one token."""
    for start in range(0, len(names), NAMES_AT_ONCE):
        some = names[start : start + NAMES_AT_ONCE]
        buckets = buckets_of("\n".join(some), features).tolist()
        if len(buckets) != len(some):  # too much text to look at in one go
            buckets = [int(buckets_of(name, features)[0]) for name in some]
        yield from zip(some, buckets, strict=True)


def _scores(matrix: Any, weights: np.ndarray, bias: float) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-(matrix @ weights.astype(np.float64) + bias))))


def _unit(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.sqrt(values @ values))
