"""Each task's rows are the paper's: start, the texts in its order with delimiters between, extract, cut by its rule."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.tokens.byte_level import train_byte_level
from ensue.tokens.task_shapes import Marks, Scale, TaskShape, joined, render, segments_of

TOKENIZER = train_byte_level(iter(["a small text that is read by nobody, and 一些中文"] * 3), vocab_size=280)
MARKS = Marks.behind(TOKENIZER.vocab_size)
WORDS = st.text("ab cd一些", min_size=1, max_size=40).filter(str.strip)


def shape(task, context=64, **others):
    return TaskShape(task=task, marks=MARKS, context=context, **others)


def rows(task, first, second=None, context=64):
    [rendered] = render(shape(task, context), TOKENIZER, [segments_of(task, first, second)])
    return [row.tolist() for row in rendered.rows], rendered.cut


def test_the_published_ids():
    assert Marks.behind(40_478) == Marks(start=40_478, delimiter=40_479, extract=40_480)


@settings(max_examples=40)
@given(WORDS, WORDS, st.lists(WORDS, min_size=2, max_size=5), st.integers(8, 70))
def test_rows_of_every_task(first, second, choices, context):
    start, delimiter, extract = MARKS.start, MARKS.delimiter, MARKS.extract
    limit = context // 2 - 2
    one, two, *others = [TOKENIZER.encode(text)[:limit] for text in (first, second, *choices)]
    whole = TOKENIZER.encode(first)[: context - 2]
    assert rows("classify", first, context=context)[0] == [[start, *whole, extract]]
    pair = [start, *one, delimiter, *two, extract]
    assert rows("entail", first, second, context)[0] == [pair]
    assert rows("similarity", first, second, context)[0] == [pair, [start, *two, delimiter, *one, extract]]
    found, _ = rows("choice", first, choices, context)
    assert found == [[start, *one, delimiter, *other, extract] for other in others]
    assert all(len(row) <= context for row in found)


def test_texts_are_cut_at_the_papers_limit_and_counted():
    long = "a small text " * 100
    assert shape("entail", 512).limit == shape("choice", 512).limit == 254
    assert shape("classify", 512).limit == 510
    [row], cut = rows("classify", long)
    assert (len(row), cut) == (64, 1)
    both, cut = rows("similarity", long, "a")
    assert [len(row) for row in both] == [34, 34]
    assert cut == 1  # one text, though it stands in two rows
    found, cut = rows("choice", long, [long + "a", "b", long + "c"])
    assert cut == 3
    assert [len(row) for row in found] == [63, 34, 63]
    with pytest.raises(ValueError, match="a context of 5 has no room"):
        shape("entail", 5)


def test_what_does_not_fit_the_task_says_what_to_give():
    with pytest.raises(ValueError, match="one text at a time"):
        segments_of("classify", "a", "b")
    with pytest.raises(ValueError, match="two texts together"):
        segments_of("entail", "a")
    with pytest.raises(ValueError, match="two choices or more"):
        segments_of("choice", "a", ["b"])
    with pytest.raises(ValueError, match="two choices or more"):
        segments_of("choice", "a", "b")
    with pytest.raises(ValueError, match="has no tokens"):
        rows("entail", "a", "")


@settings(max_examples=50)
@given(st.integers(-3, 3), st.integers(1, 6), st.floats(0, 1))
def test_a_score_is_spread_over_its_two_neighbours(low, steps, share):
    """So that its expectation is the score (Tai et al. 2015, section 4.2)."""
    scale = Scale(low, low + steps)
    score = low + share * steps
    target = scale.spread(score)
    assert len(target) == steps + 1
    assert target.sum() == pytest.approx(1)
    assert (target >= 0).all()
    assert np.count_nonzero(target) <= 2
    assert scale.expected(target.tolist()) == pytest.approx(score, abs=1e-5)


def test_scores_of_the_paper():
    scale = Scale(0, 5)
    assert scale.spread(3.8).tolist() == pytest.approx([0, 0, 0, 0.2, 0.8, 0])
    assert scale.spread(5).tolist() == [0, 0, 0, 0, 0, 1]
    assert scale.spread(0).tolist() == [1, 0, 0, 0, 0, 0]
    assert scale.spread(7).tolist() == [0, 0, 0, 0, 0, 1]


def test_context_and_question_are_one_text():
    assert joined("It rained.", "Who got wet?") == "It rained. Who got wet?"
    assert joined("下雨了。", "谁湿了？") == "下雨了。谁湿了？"
    assert joined("비가 왔다", "누가?") == "비가 왔다 누가?"
    assert joined("", "Who?") == "Who?"
    assert joined("It rained.", "") == "It rained."


@pytest.mark.parametrize(
    "written",
    [
        shape("classify", labels=("0", "1", "neutral"), columns=(("text", "sentence"), ("label", "label"))),
        shape("similarity", scale=Scale(1, 5)),
        shape("choice"),
    ],
)
def test_task_json_and_back(written):
    assert TaskShape.from_json(json.loads(json.dumps(written.to_json()))) == written
    with pytest.raises(ValueError, match="has no field 'contxt'"):
        TaskShape.from_json({**written.to_json(), "contxt": 3})


def test_outputs_of_the_head():
    assert shape("choice").outputs == 1
    assert shape("classify", labels=("a", "b", "c")).outputs == 3
    assert replace(shape("similarity"), scale=Scale(0, 5)).outputs == 6
