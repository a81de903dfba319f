"""GPT's zero-shot heuristics: what is scored, and how acceptability is told by a threshold."""

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from ensue.evaluate.scorer import Scored
from ensue.evaluate.task import Choices, Outcome, Passage
from ensue.evaluate.tasks.first_paper import GPT_COLA, GPT_RACE_HIGH, GPT_SST2

MATTHEWS, AREA, BEST = GPT_COLA.metrics


def judged(score, label, text):
    """Two tokens whose mean is `score`."""
    outcome = Outcome((Scored(("a", "b"), (score - 1, score + 1), greedy=False),))
    return MATTHEWS.value(Passage(text, text, label), outcome)


@pytest.fixture
def sentences():
    chance = np.random.default_rng(3)
    labels = chance.integers(0, 2, 150)
    scores = labels * 0.8 + chance.normal(size=150)
    return [judged(scores[place], int(labels[place]), f"sentence {place}") for place in range(150)]


def test_the_mean_of_the_tokens_is_judged():
    assert judged(-3.0, 1, "so")[:2] == (pytest.approx(-3.0), 1)


def test_the_numbers_are_those_of_scikit_learn(sentences):
    scores, labels, halves = map(np.array, zip(*sentences, strict=True))
    assert AREA.over(sentences) == pytest.approx(roc_auc_score(labels, scores))
    best = max(matthews_corrcoef(labels, scores >= threshold) for threshold in scores)
    assert BEST.over(sentences) == pytest.approx(best)
    told = np.zeros(len(scores), dtype=bool)
    for half in (0, 1):
        other = halves != half
        tried = sorted(scores[other])
        found = [matthews_corrcoef(labels[other], scores[other] >= threshold) for threshold in tried]
        # Between two neighbours of the other half, the middle: what is in between is only in this half.
        at = int(np.argmax(found))
        told[~other] = scores[~other] >= (tried[at - 1] + tried[at]) / 2
    assert MATTHEWS.over(sentences) == pytest.approx(matthews_corrcoef(labels, told))
    assert MATTHEWS.over(sentences) <= BEST.over(sentences)


def test_the_threshold_of_a_half_knows_nothing_of_it():
    """Scores without any bearing on the labels are worth about nothing, but for the best threshold in hindsight."""
    chance = np.random.default_rng(5)
    values = []
    for place in range(300):
        values.append(judged(chance.normal(), int(chance.integers(0, 2)), f"sentence {place}"))
    assert BEST.over(values) > 0.1
    assert abs(MATTHEWS.over(values)) < 0.1


def test_what_was_written_down_and_read_again_gives_the_same(sentences):
    for metric in GPT_COLA.metrics:
        assert metric.over([list(each) for each in sentences]) == metric.over(sentences)


def test_very_is_appended():
    item = GPT_SST2.item({"text": "well-conceived", "label": 1})
    assert isinstance(item, Choices)
    assert [option.context + option.continuation for option in item.options] == [
        "well-conceived very negative",
        "well-conceived very positive",
    ]
    assert item.answer == 1


def test_race_is_text_question_answer():
    row = {"article": "It rained. ", "question": "Why?", "options": ["rain", "sun", "snow", "fog"], "answer": "C"}
    item = GPT_RACE_HIGH.item(row)
    assert item.options[2].context + item.options[2].continuation == "It rained.\nWhy? snow"
    assert item.answer == 2
