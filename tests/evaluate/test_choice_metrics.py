"""Scores of options and what is computed of them, against scikit-learn and by properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef, roc_auc_score

from ensue.evaluate.metrics import (
    accuracies,
    accuracy,
    accuracy_of,
    all_right,
    area_under_curve,
    best_threshold,
    f1,
    f1_of,
    macro_f1,
    matthews,
    matthews_of,
)
from ensue.evaluate.scorer import Scored
from ensue.evaluate.task import Choices, Option, Outcome, chosen, option_scores

SCORINGS = ("sum", "token", "byte", "character", "unconditional")
nats = st.floats(-50, 0, allow_nan=False)
tokens = st.lists(nats, min_size=1, max_size=5)
pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


def scored(token_nats):
    return Scored(tuple("t" for _ in token_nats), tuple(token_nats), greedy=False)


def item_of(continuations, answer=0, key=None):
    return Choices(tuple(Option("Q", text) for text in continuations), answer, key)


@st.composite
def items(draw):
    count = draw(st.integers(2, 5))
    texts = draw(st.lists(st.text(min_size=1, max_size=8), min_size=count, max_size=count))
    scores = tuple(scored(draw(tokens)) for _ in range(count))
    alone = tuple(scored(draw(tokens)) for _ in range(count))
    return item_of(texts, draw(st.integers(0, count - 1))), Outcome(scores, alone)


@given(items(), st.sampled_from(SCORINGS), st.randoms())
def test_scores_follow_their_options_into_any_order(given_item, scoring, chance):
    item, outcome = given_item
    order = list(range(len(item.options)))
    chance.shuffle(order)
    moved = Choices(tuple(item.options[place] for place in order), order.index(item.answer))
    others = Outcome(tuple(outcome.scores[place] for place in order), tuple(outcome.alone[place] for place in order))
    before = option_scores(item, outcome, scoring)
    assert option_scores(moved, others, scoring) == [before[place] for place in order]


@given(items(), st.floats(0.1, 10))
def test_scaling_all_log_probabilities_changes_no_choice(given_item, factor):
    item, outcome = given_item
    scaled = Outcome(tuple(scored([value * factor for value in each.token_nats]) for each in outcome.scores))
    for scoring in ("sum", "token", "byte", "character"):
        before, after = option_scores(item, outcome, scoring), option_scores(item, scaled, scoring)
        assert after == pytest.approx([value * factor for value in before], rel=1e-9, abs=1e-9)


@given(st.lists(nats.map(lambda value: round(value, 6)), min_size=2, max_size=5, unique=True), st.integers(1, 4))
def test_options_of_one_length_are_chosen_alike_by_every_length(sums, length):
    item = item_of(["abcd" for _ in sums])
    outcome = Outcome(tuple(scored([value] + [0.0] * (length - 1)) for value in sums))
    best = int(np.argmax(sums))
    assert {chosen(item, outcome, scoring) for scoring in ("sum", "token", "byte", "character")} == {best}


def test_each_scoring_divides_by_its_own_length():
    item = item_of([" é", " abc"])
    outcome = Outcome((scored([-2.0, -4.0]), scored([-9.0])), (scored([-1.0]), scored([-30.0])))
    assert option_scores(item, outcome, "sum") == [-6.0, -9.0]
    assert option_scores(item, outcome, "token") == [-3.0, -9.0]
    assert option_scores(item, outcome, "byte") == [-6.0 / 3, -9.0 / 4]
    assert option_scores(item, outcome, "character") == [-6.0 / 2, -9.0 / 4]
    assert option_scores(item, outcome, "unconditional") == [-5.0, 21.0]


def test_a_task_tells_its_own_accuracy_first_and_the_others_by_name():
    assert [metric.name for metric in accuracies("token")] == [
        "accuracy",
        "accuracy_sum",
        "accuracy_byte",
        "accuracy_character",
    ]
    assert accuracies("unconditional", unconditional=True)[0].name == "accuracy"
    assert "accuracy_unconditional" in [metric.name for metric in accuracies("sum", unconditional=True)]


@given(pairs)
def test_f1_is_that_of_scikit_learn(drawn):
    found, right = zip(*drawn, strict=True)
    for positive in range(3):
        expected = f1_score(np.equal(right, positive), np.equal(found, positive), zero_division=0.0)
        assert f1_of(drawn, positive) == pytest.approx(expected)
    macro = macro_f1("sum", classes=3)
    assert macro.over(drawn) == pytest.approx(
        f1_score(right, found, labels=[0, 1, 2], average="macro", zero_division=0)
    )


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60))
def test_matthews_is_that_of_scikit_learn(drawn):
    found, right = zip(*drawn, strict=True)
    expected = matthews_corrcoef(right, found) if len({*right, *found}) > 1 else 0.0
    assert matthews_of(drawn) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 1)), min_size=2, max_size=60))
def test_the_area_is_that_of_scikit_learn(drawn):
    scores, labels = zip(*drawn, strict=True)
    area = area_under_curve(scores, labels)
    if len(set(labels)) < 2:
        assert math.isnan(area)
    else:
        assert area == pytest.approx(roc_auc_score(labels, scores))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(-6, 6), st.integers(0, 1)), min_size=1, max_size=40))
def test_no_threshold_is_better_than_the_best(drawn):
    scores, labels = zip(*drawn, strict=True)

    def at(threshold):
        return matthews_of([(int(score >= threshold), label) for score, label in drawn])

    tried = [-math.inf, *(value + half for value in set(scores) for half in (-0.5, 0.0, 0.5))]
    assert at(best_threshold(scores, labels)) == pytest.approx(max(map(at, tried)), abs=1e-12)


def test_metrics_read_items_and_outcomes():
    right, wrong = Outcome((scored([-1.0]), scored([-2.0]))), Outcome((scored([-2.0]), scored([-1.0])))
    first, second = item_of([" a", " b"], 0, "one"), item_of([" a", " b"], 1, "two")
    assert [accuracy("sum").value(first, outcome) for outcome in (right, wrong)] == [1.0, 0.0]
    assert accuracy_of("one", "sum", name="part").value(first, right) == 1.0
    assert accuracy_of("one", "sum", name="part").value(second, right) is None
    values = [matthews("sum").value(item, right) for item in (first, second)]
    assert values == [(0, 0), (0, 1)]
    assert matthews("sum").over(values) == 0.0
    with pytest.raises(ValueError, match="all items have the same label"):
        matthews("sum").over([(0, 1), (1, 1)])
    assert f1("sum", positive=0).over(values) == pytest.approx(2 / 3)


def test_a_group_is_right_when_all_its_items_are():
    metric = all_right("sum", name="questions")
    right, wrong = Outcome((scored([-1.0]), scored([-2.0]))), Outcome((scored([-2.0]), scored([-1.0])))
    asked = [("a", right), ("a", right), ("b", right), ("b", wrong)]
    values = [metric.value(item_of([" x", " y"], 0, group), outcome) for group, outcome in asked]
    assert metric.over(values) == 0.5
    assert metric.over([list(value) for value in values]) == 0.5
