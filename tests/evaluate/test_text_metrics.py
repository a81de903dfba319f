"""Metrics of written answers, against the libraries they come from, against counting by hand, and in Chinese."""

import re
import string
import sys
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu

from ensue.evaluate import text_metrics
from ensue.evaluate.answers import answer_words, exact, normalised, overlap
from ensue.evaluate.task import Metric, Outcome, Question
from ensue.evaluate.text_metrics import against_others, bleu, exact_match, f1, rouge, same_text

ENGLISH = st.lists(
    st.sampled_from(["the", "The", "a", "fox", "fox's", "“Fox”", "U.S.", "1,000", "naïve", "it;", "crow!", "—"]),
    max_size=8,
).map(" ".join)


def one(metric: Metric, text: str, *answers: str) -> float:
    return float(metric.over([metric.value(Question("?", answers), Outcome(text=text))]))


def squad_normalised(text: str) -> str:
    """SQuAD's four steps, one after the other."""
    text = "".join(sign for sign in text.lower() if sign not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


@given(text=ENGLISH, right=ENGLISH)
def test_english_answers_are_compared_as_for_squad(text: str, right: str) -> None:
    assert normalised(text) == squad_normalised(text)
    found, wanted = squad_normalised(text).split(), squad_normalised(right).split()
    assert exact(text, right) == (found == wanted)
    same = sum((Counter(found) & Counter(wanted)).values())
    if not found or not wanted:
        assert overlap(text, right) == (found == wanted)
    elif not same:
        assert overlap(text, right) == 0
    else:
        precision, recall = same / len(found), same / len(wanted)
        assert overlap(text, right) == pytest.approx(2 * precision * recall / (precision + recall))


def test_chinese_answers_are_compared_by_character() -> None:
    assert answer_words("《红楼梦》，曹雪芹 1791 the Author。") == [*"红楼梦曹雪芹", "1791", "author"]
    assert exact("“北京”。", "北京") == 1
    assert overlap("在北京", "北京") == pytest.approx(2 * 2 / 5)
    assert overlap("กรุงเทพ", "กรุงเทพ") == 1


def test_the_best_of_several_answers_counts() -> None:
    assert one(exact_match(), " The Beatles\n", " Wings", " beatles") == 1
    assert one(f1(), "the red fox", "fox", "red crow tree") == pytest.approx(2 / 3)
    assert one(same_text(), " 143", " 143") == 1
    assert one(same_text(), " 143.", " 143") == 0
    assert one(f1(), "", "fox") == 0


def test_a_model_is_held_against_all_but_one_person() -> None:
    # Left out in turn: the first, the second, the third.
    assert one(against_others(exact, name="em"), "fox", "fox", "crow", "owl") == pytest.approx(2 / 3)
    assert one(against_others(overlap, name="f1"), "a red fox", "red fox", "fox", "owl") == pytest.approx(
        (2 / 3 + 1 + 1) / 3
    )
    assert one(against_others(exact, name="em"), "fox", "fox") == 1


@pytest.mark.parametrize(("language", "tokenizer"), [("fr", "13a"), ("zh", "zh"), ("ja", "char")])
def test_bleu_is_sacrebleus(language: str, tokenizer: str) -> None:
    written = ["Le chat est là, sur la table.", "Un chien court.", "", "狐狸住在森林里。"]
    right = ["Le chat est assis sur la table.", "Un chien court dans l'herbe !", "Rien.", "一只狐狸住在森林里。"]
    metric = bleu(language)
    values = [
        metric.value(Question("?", (f" {answer}",)), Outcome(text=f" {text}\n"))
        for text, answer in zip(written, right, strict=True)
    ]
    for chosen in ([0, 1, 2, 3], [3, 3, 0], [0]):
        whole = corpus_bleu(
            [written[place] for place in chosen], [[right[place] for place in chosen]], tokenize=tokenizer
        )
        assert metric.over([values[place] for place in chosen]) == pytest.approx(whole.score, abs=1e-9)


def test_bleu_of_two_references() -> None:
    metric = bleu("en")
    value = metric.value(Question("?", (" a red fox", " the red fox runs")), Outcome(text="the red fox"))
    assert metric.over([value]) == pytest.approx(
        corpus_bleu(["the red fox"], [["a red fox"], ["the red fox runs"]]).score
    )


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
def test_rouge_is_rouge_scores(kind: str) -> None:
    written = "Foxes were running home.\nThe crow (a naïve one) sang."
    right = "The fox runs home .\nA crow sings , naïve ."
    expected = RougeScorer([kind], use_stemmer=True).score(right, written)[kind].fmeasure
    assert one(rouge(kind), written, f" {right}") == pytest.approx(100 * expected)


def test_rouge_by_hand() -> None:
    # Words: "fox runs home" of four, in order; pairs: "runs home" of three.
    assert one(rouge("rouge1", "de"), "der Fuchs läuft heim", "ein Fuchs läuft heim") == pytest.approx(75)
    assert one(rouge("rouge2", "de"), "der Fuchs läuft heim", "ein Fuchs läuft heim") == pytest.approx(200 / 3)
    assert one(rouge("rougeL", "zh"), "狐狸在森林", "狐狸住森林里") == pytest.approx(100 * 2 * 4 / (5 + 6))
    assert one(rouge(("rouge1", "rouge2"), "de"), "Fuchs läuft", "Fuchs läuft heim") == pytest.approx(
        (80 + 100 * 2 / 3) / 2
    )
    # The library's own words know neither script.
    assert one(rouge("rougeL", "en"), "狐狸", "狐狸") == 0


@pytest.mark.parametrize(
    ("package", "metric"), [("sacrebleu.metrics.bleu", bleu()), ("rouge_score.rouge_scorer", rouge("rouge1"))]
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str, metric: Metric) -> None:
    text_metrics._bleu.cache_clear()
    text_metrics._rouge.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r"pip install 'ensue\[evaluate\]'"):
        one(metric, "fox", "fox")


@settings(max_examples=50)
@given(answers=st.lists(ENGLISH.filter(str.strip), min_size=1, max_size=4), text=ENGLISH)
def test_scores_are_shares(answers: Sequence[str], text: str) -> None:
    for metric in (exact_match(), f1(), against_others(overlap, name="f1")):
        assert 0 <= one(metric, text, *answers) <= 1
    assert 0 <= one(rouge("rougeL"), text, *answers) <= 100 + 1e-9
