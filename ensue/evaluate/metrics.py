"""The metrics that several tasks share."""

from __future__ import annotations

from ensue.evaluate.task import Choices, Item, Metric, Outcome, Scoring, chosen


def accuracy(scoring: Scoring, *, name: str = "accuracy") -> Metric:
    """Whether the highest option by this scoring is the right one."""

    def value(item: Item, outcome: Outcome) -> float:
        assert isinstance(item, Choices)
        return float(chosen(item, outcome, scoring) == item.answer)

    return Metric(name, value)
