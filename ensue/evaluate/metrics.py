"""The metrics that several tasks share: of options chosen, and of labels told by a score.

What an item gives is a pair, the option chosen and the right one, wherever a number is not a mean over items.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt

from ensue.evaluate.task import Choices, Item, Metric, Outcome, Scoring, chosen

Pair = tuple[int, int]
"""The option chosen and the right one."""


def accuracy(scoring: Scoring, *, name: str = "accuracy") -> Metric:
    """Whether the highest option by this scoring is the right one."""

    def value(item: Item, outcome: Outcome) -> float:
        assert isinstance(item, Choices)
        return float(chosen(item, outcome, scoring) == item.answer)

    return Metric(name, value)


def accuracies(own: Scoring, *, unconditional: bool = False) -> tuple[Metric, ...]:
    """`accuracy` by a task's own scoring, and beside it `accuracy_sum`, `accuracy_token` and so on by the others.

    `unconditional` says that the task has an answer context, without which there is no such score.
    """
    others = [
        scoring for scoring in get_args(Scoring) if scoring != own and (scoring != "unconditional" or unconditional)
    ]
    return (accuracy(own), *(accuracy(scoring, name=f"accuracy_{scoring}") for scoring in others))


def accuracy_of(part: Hashable, scoring: Scoring, *, name: str) -> Metric:
    """Accuracy on the items whose `key` is `part`; the others are not counted."""

    def value(item: Item, outcome: Outcome) -> float | None:
        assert isinstance(item, Choices)
        return float(chosen(item, outcome, scoring) == item.answer) if item.key == part else None

    return Metric(name, value)


def all_right(scoring: Scoring, *, name: str) -> Metric:
    """The share of groups all of whose items are right: items of one group have the same `key`.

    Resampled items leave some of a group out, of which the others may be right: the interval lies high, not the number.
    """

    def value(item: Item, outcome: Outcome) -> tuple[str, bool]:
        assert isinstance(item, Choices)
        return str(item.key), chosen(item, outcome, scoring) == item.answer

    def total(values: Sequence[tuple[str, bool]]) -> float:
        groups: dict[str, bool] = {}
        for group, right in values:
            groups[group] = groups.get(group, True) and right
        return float(np.mean(list(groups.values())))

    return Metric(name, value, total)


def f1(scoring: Scoring, *, positive: int, name: str = "f1") -> Metric:
    """F1 of finding the items whose right option is `positive`; 0 where none is and none is found."""
    return Metric(name, _pair(scoring), lambda pairs: f1_of(pairs, positive))


def macro_f1(scoring: Scoring, *, classes: int, name: str = "f1_macro") -> Metric:
    """The mean of every option's F1, each counting the same (SuperGLUE 2019, section 3.2: CommitmentBank)."""
    return Metric(name, _pair(scoring), lambda pairs: float(np.mean([f1_of(pairs, each) for each in range(classes)])))


def matthews(scoring: Scoring, *, name: str = "matthews") -> Metric:
    """Matthews' correlation of two options chosen and right; none where the right one never changes."""

    def total(pairs: Sequence[Pair]) -> float:
        check_labels([right for _, right in pairs])
        return matthews_of(pairs)

    return Metric(name, _pair(scoring), total)


def check_labels(labels: Sequence[int]) -> None:
    """Raise ValueError where all labels are the same: nothing can correlate with them."""
    if len(set(labels)) < 2:
        raise ValueError("all items have the same label, with which nothing correlates")


def _pair(scoring: Scoring) -> Callable[[Item, Outcome], Pair]:
    def value(item: Item, outcome: Outcome) -> Pair:
        assert isinstance(item, Choices)
        return chosen(item, outcome, scoring), item.answer

    return value


def f1_of(pairs: Sequence[Pair], positive: int) -> float:
    """2 TP / (2 TP + FP + FN) of (found, right) pairs; 0 where all three are 0."""
    found, right = (np.asarray(side) == positive for side in zip(*pairs, strict=True))
    both = int(np.sum(found & right))
    either = int(np.sum(found)) + int(np.sum(right))
    return 2 * both / either if either else 0.0


def matthews_of(pairs: Sequence[Pair]) -> float:
    """Correlation of (found, right) pairs of 0 and 1; 0 where either side is always the same."""
    found, right = (np.asarray(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    return _correlation(found, right)


def _correlation(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    left, right = left - left.mean(), right - right.mean()
    size = float(np.sqrt(np.sum(left**2) * np.sum(right**2)))
    return float(np.sum(left * right)) / size if size > 0 else 0.0


def area_under_curve(scores: Sequence[float], labels: Sequence[int]) -> float:
    """How often an item of label 1 scores higher than one of label 0, ties counting half; NaN of only one label."""
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(labels) == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return float("nan")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def best_threshold(scores: Sequence[float], labels: Sequence[int]) -> float:
    """The threshold with the highest Matthews' correlation: items at or above it are told to be of label 1.

    The lowest of equals. Between two scores it is the middle; infinite where telling all alike is best.
    """
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(labels) == 1
    order = np.argsort(-values, kind="stable")
    ordered, hits = values[order], np.cumsum(positive[order])
    told = np.arange(1, len(values) + 1)
    cuts = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], False))
    if not len(cuts):
        return float("-inf")
    total, right = len(values), int(positive.sum())
    true, found = hits[cuts].astype(np.float64), told[cuts].astype(np.float64)
    size = np.sqrt(found * (total - found) * right * (total - right))
    correlations = np.divide(total * true - found * right, size, out=np.zeros(len(cuts)), where=size > 0)
    best = int(np.flatnonzero(correlations == correlations.max())[-1])
    if correlations[best] <= 0:
        return float("-inf")
    cut = int(cuts[best])
    return float((ordered[cut] + ordered[cut + 1]) / 2)
