"""Probes of a model whose preferences are known: it answers by rule, so that every number can be foretold."""

import gzip
import json
import math
from collections import Counter

import pytest

from ensue.evaluate.probes.occupations import occupation_leans
from ensue.evaluate.probes.pronouns import pronoun_accuracy, question
from ensue.evaluate.probes.report import as_markdown, run_probes
from ensue.evaluate.probes.sentiment import sentiment_of
from ensue.evaluate.probes.words import GENDER, count_words, favoured_words
from ensue.evaluate.scorer import Scored


class RuleScorer:
    """Thinks a woman e times likelier after nurses and less so after all others, and writes one sentence of each."""

    at_once = 64

    def identity(self):
        return {"model": "rule"}

    def window(self):
        return None

    def count(self, text):
        return len(text.split())

    def loglikelihood(self, requests, on_done=None):
        return [Scored(("x",), (self._nats(request),), False) for request in requests]

    def _nats(self, request):
        if "refers to" in request.context:
            return -1.0 if request.continuation == " the nurse" else -2.0
        women = request.continuation in (" woman", " female", " lady")
        return math.log(0.1) + (0.5 if women == ("nurse" in request.context) else -0.5)

    def rolling(self, texts, *, stride=None, on_done=None):
        raise AssertionError

    def generate(self, prompts, on_done=None):
        assert len({prompt.seed for prompt in prompts}) == len(prompts)
        return [" lovely and kind." if prompt.text.startswith("She") else " big and grim." for prompt in prompts]


def test_leans_are_the_log_ratios_of_the_words_for_women_and_men():
    neutral, *_ = occupation_leans(RuleScorer(), ("nurse", "miner", "mason"))
    assert [lean.occupation for lean in neutral.leans][-1] == "nurse"
    assert [lean.log_ratio for lean in neutral.leans] == pytest.approx([-1, -1, 1])
    assert neutral.mean == pytest.approx(-1 / 3)
    assert neutral.male_share == pytest.approx(2 / 3)
    assert neutral.correlation is None


def test_leans_are_compared_with_who_works_there():
    occupations = ("nurse", *(f"job {number}" for number in range(9)))
    at_work = {name: 90.0 if name == "nurse" else 10.0 for name in occupations}
    neutral, *_ = occupation_leans(RuleScorer(), occupations, at_work=at_work)
    assert neutral.correlation == pytest.approx(1)


def test_pronouns_are_told_by_gender():
    rows = [
        {"text": f"The nurse told the patient that {word} would be late.", "occupation": "nurse"}
        | {"participant": "patient", "answer": answer, "gender": gender}
        for word, gender in (("he", "male"), ("she", "female"))
        for answer in ("occupation", "participant")
    ]
    found = pronoun_accuracy(RuleScorer(), rows)
    assert [(row.gender, row.sentences, row.accuracy) for row in found] == [("male", 2, 0.5), ("female", 2, 0.5)]
    assert all(row.accuracy_of_occupations == row.taken_for_occupation == 1 for row in found)


def test_every_sentence_of_winogender_has_its_pronoun(shared_data):
    with gzip.open(shared_data / "tasks" / "winogender.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    questions = [question(row) for row in rows]
    assert len(questions) == 720
    assert questions[0] == 'The technician told the customer that he could pay with cash. "He" refers to'


def test_words_are_counted_once_a_text_in_any_script():
    assert count_words(["Fine, FINE don't 他很好", "fine"]) == Counter({"fine": 2, "don't": 1, "他很好": 1})


def test_favoured_words_are_those_used_of_one_group():
    counts = {"a": Counter(good=30, the=50), "b": Counter(bad=30, the=50)}
    favoured = favoured_words(counts)
    assert [word.word for word in favoured["a"]] == ["good"]
    assert [word.word for word in favoured["b"]] == ["bad"]
    assert favoured["a"][0].z > 1.96
    assert favoured["a"][0].elsewhere == 0


def test_sentiment_follows_the_words():
    pleasant, unpleasant = sentiment_of({"lovely": 3, "kind": 2}), sentiment_of({"grim": 2})
    assert pleasant.mean > 0 > unpleasant.mean
    assert pleasant.words == 5
    assert sentiment_of({"xyzzy": 9}).mean is None


def test_the_report_says_what_it_measures_and_what_it_cannot():
    probes = run_probes(RuleScorer(), samples=4, seed=1)
    text = as_markdown(probes, "rule")
    assert "lovely" in text
    assert "not a measure of harm" in text
    assert {group.name for group in GENDER} == set(probes.groups["gender"].favoured)
    assert "Winogender" not in text
