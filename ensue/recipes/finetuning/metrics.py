"""What a tuned model is measured by on labelled examples: accuracy, F1, Matthews' and the two correlations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def accuracy(right: Sequence[int], said: Sequence[int]) -> float:
    """The share of answers that are right."""
    return float(np.mean(np.asarray(right) == np.asarray(said)))


def f1(right: Sequence[int], said: Sequence[int], *, classes: int) -> float:
    """2 TP / (2 TP + FP + FN) of the second class where there are two, as GLUE has it, or its mean over all classes.

    A class that is neither right nor said anywhere has none and is left out of the mean.
    """
    table = _table(right, said, classes)
    hits, wanted, given = np.diag(table), table.sum(1), table.sum(0)
    scores = 2 * hits / np.maximum(wanted + given, 1)
    return float(scores[1]) if classes == 2 else float(scores[wanted + given > 0].mean())


def matthews(right: Sequence[int], said: Sequence[int], *, classes: int) -> float:
    """Matthews' correlation, for any number of classes (Gorodkin 2004); 0 where either side knows one class only."""
    table = _table(right, said, classes)
    wanted, given, total = table.sum(1), table.sum(0), float(table.sum())
    above = np.trace(table) * total - wanted @ given
    below = np.sqrt(total**2 - given @ given) * np.sqrt(total**2 - wanted @ wanted)
    return float(above / below) if below else 0.0


def pearson(right: Sequence[float], said: Sequence[float]) -> float:
    """Pearson's correlation; 0 where either side never changes."""
    one, other = (np.asarray(values, np.float64) - np.mean(values) for values in (right, said))
    below = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / below) if below else 0.0


def spearman(right: Sequence[float], said: Sequence[float]) -> float:
    """Spearman's correlation: Pearson's of the ranks, ties sharing theirs."""
    return pearson(_ranks(right), _ranks(said))


def _ranks(values: Sequence[float]) -> list[float]:
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks: list[float] = middle[place].tolist()
    return ranks


def _table(right: Sequence[int], said: Sequence[int], classes: int) -> np.ndarray:
    """(classes, classes) float64: how often each was right and each was said."""
    table = np.zeros((classes, classes))
    np.add.at(table, (np.asarray(right), np.asarray(said)), 1)
    return table
