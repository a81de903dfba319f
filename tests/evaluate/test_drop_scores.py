"""DROP's scores, against a copy of the published scorer in lm-evaluation-harness."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.evaluate.drop_scores import drop_exact, drop_f1

WORDS = st.lists(
    st.sampled_from(["4", "4.0", "17", "1,000", "$5", "fox", "The", "a", "red-brown", "Fox.", "-3", "3rd", "1e5"]),
    min_size=1,
    max_size=5,
).map(" ".join)


@settings(max_examples=300)
@given(text=WORDS | st.just(""), spans=st.lists(WORDS, min_size=1, max_size=3))
def test_scores_are_those_published(text: str, spans: list[str]) -> None:
    published = pytest.importorskip("lm_eval.tasks.drop.utils")
    exact, f1 = published.get_metrics([text], tuple(spans))
    assert drop_exact(text, spans) == exact
    assert drop_f1(text, spans) == pytest.approx(f1)


def test_numbers_must_be_shared() -> None:
    assert drop_f1("5 yards", ["4 yards"]) == 0
    assert drop_f1("4 yards", ["4.0 yards"]) == 1
    assert drop_f1("the fox", ["fox", "crow"]) == 0.5
    assert drop_exact("Fox!", ["the fox"]) == 1
