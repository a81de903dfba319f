"""MultiRC, ReCoRD and WSC from SuperGLUE's own layout: the texts, and what is right."""

import json

import pytest

from ensue.evaluate.rows import read_rows
from ensue.evaluate.scorer import Scored
from ensue.evaluate.splits import find_split
from ensue.evaluate.task import Outcome
from ensue.evaluate.tasks.superglue_passages import MULTIRC, RECORD, WSC

MULTIRC_ROW = {
    "idx": 7,
    "passage": {
        "text": "The State Department felt that he should not visit India without also visiting Pakistan.",
        "questions": [
            {
                "idx": 2,
                "question": "Who should visit both?",
                "answers": [{"idx": 0, "text": "Bin Laden", "label": 0}, {"idx": 1, "text": "Clinton", "label": 1}],
            }
        ],
    },
}
NEWS = "Yuval Rabin criticized Donald Trump. Rabin is the son of Yitzhak Rabin."
RECORD_ROW = {
    "passage": {
        "text": f"{NEWS}\n@highlight\nThe son wrote an op-ed\n@highlight\nWarns of parallels.",
        "entities": [
            {"start": 0, "end": 10},
            {"start": 23, "end": 34},
            {"start": 37, "end": 41},
            {"start": 0, "end": 10},
        ],
    },
    "qas": [
        {
            "query": "Rabin condemned @placeholder's rhetoric",
            "answers": [{"start": 23, "end": 34, "text": "Donald Trump"}],
        }
    ],
}
WSC_ROW = {
    "idx": 0,
    "text": "Mr. Moncrieff visited his son Edward, because he no longer requires his financial support .",
    "target": {"span1_text": "Mr. Moncrieff", "span1_index": 0, "span2_text": "his", "span2_index": 11},
    "label": True,
}


def rows_of(folder, task, name, *rows):
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return read_rows(find_split(folder, name, role="test", any_ending=True), task.files)


def outcome(*nats):
    return Outcome(tuple(Scored(("t",), (value,), greedy=False) for value in nats))


def test_an_answer_of_multirc_is_true_or_false(tmp_path):
    wrong, right = rows_of(tmp_path, MULTIRC, "multirc_val", MULTIRC_ROW)
    item = MULTIRC.item(wrong)
    context = f"{MULTIRC_ROW['passage']['text']}\n\nWho should visit both?"
    assert [option.context for option in item.options] == [context, context]
    assert [option.continuation for option in item.options] == ["\n- [False] Bin Laden", "\n- [True] Bin Laden"]
    assert [MULTIRC.item(row).answer for row in (wrong, right)] == [0, 1]
    assert MULTIRC.demonstration(right) == f"{context}\n- [False] Bin Laden\n- [True] Clinton"


def test_multirc_in_rows_of_answers_is_the_same(tmp_path):
    flat = [
        {
            "paragraph": MULTIRC_ROW["passage"]["text"],
            "question": "Who should visit both?",
            "answer": answer["text"],
            "label": answer["label"],
            "idx": {"paragraph": 7, "question": 2, "answer": answer["idx"]},
        }
        for answer in MULTIRC_ROW["passage"]["questions"][0]["answers"]
    ]
    theirs = rows_of(tmp_path, MULTIRC, "multirc_val", MULTIRC_ROW)
    ours = rows_of(tmp_path, MULTIRC, "multirc_train", *flat)
    assert [MULTIRC.item(row) for row in ours] == [MULTIRC.item(row) for row in theirs]
    assert [MULTIRC.demonstration(row) for row in ours] == [MULTIRC.demonstration(row) for row in theirs]


def test_a_question_of_multirc_is_right_with_all_its_answers(tmp_path):
    items = [MULTIRC.item(row) for row in rows_of(tmp_path, MULTIRC, "multirc_val", MULTIRC_ROW)]
    questions, f1, answers = MULTIRC.metrics[:3]
    always = outcome(-2.0, -1.0)
    said = {metric.name: metric.over([metric.value(item, always) for item in items]) for metric in MULTIRC.metrics[:3]}
    assert (said[questions.name], said[f1.name], said[answers.name]) == (0.0, pytest.approx(2 / 3), 0.5)
    right = [questions.value(items[0], outcome(-1.0, -2.0)), questions.value(items[1], always)]
    assert questions.over(right) == 1.0


def test_record_fills_a_line_with_each_name(tmp_path):
    (row,) = rows_of(tmp_path, RECORD, "record_val", RECORD_ROW)
    item = RECORD.item(row)
    assert item.options[0].context == f"{NEWS}\n\n- The son wrote an op-ed.\n- Warns of parallels."
    assert [option.continuation for option in item.options] == [
        f"\n- Rabin condemned {name}'s rhetoric." for name in ("Yuval Rabin", "Donald Trump", "Rabin")
    ]
    assert item.answer == 1
    flat = {
        "passage": RECORD_ROW["passage"]["text"],
        "query": "Rabin condemned @placeholder's rhetoric",
        "entities": ["Yuval Rabin", "Donald Trump", "Rabin"],
        "answers": ["Donald Trump"],
    }
    assert RECORD.item(*rows_of(tmp_path, RECORD, "record_train", flat)) == item


def test_a_name_of_record_may_be_right_in_part(tmp_path):
    named = {**RECORD_ROW, "qas": [{"query": "@placeholder is the son", "answers": [{"text": "Rabin"}]}]}
    (row,) = rows_of(tmp_path, RECORD, "record_val", named)
    item = RECORD.item(row)
    exact, f1 = RECORD.metrics
    chose_first = outcome(-1.0, -2.0, -3.0)
    assert (exact.value(item, chose_first), f1.value(item, chose_first)) == (0.0, pytest.approx(2 / 3))
    chose_last = outcome(-3.0, -2.0, -1.0)
    assert (exact.value(item, chose_last), f1.value(item, chose_last)) == (1.0, 1.0)


def test_wsc_asks_what_the_marked_pronoun_means(tmp_path):
    (row,) = rows_of(tmp_path, WSC, "wsc_val", WSC_ROW)
    item = WSC.item(row)
    assert WSC.header.endswith("refers to.\n=====\n")
    assert item.context == (
        "Passage: Mr. Moncrieff visited his son Edward, because he no longer requires *his* financial support .\n"
        'Question: In the passage above, what does the pronoun "*his*" refer to?\nAnswer:'
    )
    assert item.answers == (" mr. moncrieff",)


@pytest.mark.parametrize(
    ("written", "label", "value"),
    [
        (" Mr. Moncrieff", True, 1.0),
        (" moncrieff", True, 1.0),
        (" Edward", True, 0.0),
        (" Edward", False, 1.0),
        (" the Mr. Moncrieff himself", True, 1.0),
        ("", True, 0.0),
        ("", False, 1.0),
    ],
)
def test_wsc_is_right_where_the_noun_is_meant_or_is_not(tmp_path, written, label, value):
    (row,) = rows_of(tmp_path, WSC, "wsc_val", {**WSC_ROW, "label": label})
    assert WSC.metrics[0].value(WSC.item(row), Outcome(text=written)) == value


def test_only_true_rows_of_wsc_are_shown_as_examples(tmp_path):
    both = (WSC_ROW, {**WSC_ROW, "label": False})
    assert len(rows_of(tmp_path, WSC, "wsc_train", *both)) == 1
    assert len(rows_of(tmp_path, WSC, "wsc_val", *both)) == 2


def test_a_pronoun_whose_place_is_off_is_found_nearby(tmp_path):
    moved = {**WSC_ROW, "target": {**WSC_ROW["target"], "span2_index": 13}}
    (row,) = rows_of(tmp_path, WSC, "wsc_val", moved)
    assert "requires *his* financial" in WSC.item(row).context
    absent = {**WSC_ROW, "target": {**WSC_ROW["target"], "span2_text": "them"}}
    (row,) = rows_of(tmp_path, WSC, "wsc_val", absent)
    with pytest.raises(ValueError, match="the pronoun them is not in the text"):
        WSC.item(row)
