"""Perplexity and bits, counted by hand."""

import math

import pytest

from ensue.evaluate.likelihood_metrics import (
    bits,
    characters,
    foretold,
    perplexity,
    target_perplexity,
    token_perplexity,
    utf8_bytes,
    words,
    words_and_line_ends,
)
from ensue.evaluate.scorer import Scored
from ensue.evaluate.task import Metric, Outcome, Passage, Target


def scored(*nats: float, greedy: bool = False) -> Outcome:
    return Outcome(scores=(Scored(tuple("x" * len(nats)), nats, greedy),))


def over(metric: Metric, *pairs: tuple[Passage | Target, Outcome]) -> float:
    return metric.over([metric.value(item, outcome) for item, outcome in pairs])


def test_units_are_those_of_the_original() -> None:
    assert words(" = A b = \n \n c \n") == 5
    assert words_and_line_ends(" = A b = \n \n c \n") == 8
    assert (characters("狐狸 é"), utf8_bytes("狐狸 é")) == (4, 9)


def test_sums_are_divided_not_means() -> None:
    first = Passage("fox.", " fox . \n"), scored(-1.0, -2.0)
    second = Passage("a b c", " a b c d e \n"), scored(-5.0)
    assert over(perplexity(words), first, second) == pytest.approx(math.exp(8 / 7))
    assert over(perplexity(words_and_line_ends), first, second) == pytest.approx(math.exp(8 / 9))
    assert over(token_perplexity(), first, second) == pytest.approx(math.exp(8 / 3))
    sizes = len(" fox . \n") + len(" a b c d e \n")
    assert over(bits(utf8_bytes, name="b"), first, second) == pytest.approx(8 / sizes / math.log(2))


def test_targets_count_once_each() -> None:
    pairs = [(Target("a", " b"), scored(-1.0, -2.0, greedy=True)), (Target("a", " b"), scored(-3.0))]
    assert over(target_perplexity(), *pairs) == pytest.approx(math.exp(3))
    assert over(foretold(), *pairs) == 0.5


def test_what_is_no_number_any_more_is_infinite() -> None:
    assert over(perplexity(words), (Passage("a", "a"), scored(-1e6))) == math.inf


def test_lower_is_better() -> None:
    assert not perplexity(words).higher_is_better
    assert not bits(utf8_bytes, name="b").higher_is_better
    assert foretold().higher_is_better
