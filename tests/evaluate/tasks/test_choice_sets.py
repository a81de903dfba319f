"""Whole sets: how many items, which labels, and where the spaces are."""

import re
from collections import Counter

import pytest

from ensue.evaluate.builtin import CHOSEN
from ensue.evaluate.task import Choices, Passage, Question, shown
from ensue.evaluate.tasks import blimp

TASKS = {task.name: task for task in CHOSEN}
WHOLE_SENTENCES = {"winograd_full", "blimp"}
RENAMED = {"snli": [0, 1, 2], "sick": [0, 1, 2]}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_says_what_it_is(task):
    assert task.about
    assert task.metrics
    assert len({metric.name for metric in task.metrics}) == len(task.metrics)
    assert task.files.origin.startswith("http")
    assert (task.answer_context is not None) == (task.scoring == "unconditional")
    assert task.answer_context is None or not task.answer_context.endswith(" ")


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_set_has_the_rows_and_labels_that_its_description_counts(task, published, shared_data):
    rows = published(task)
    described = (shared_data / "README.md").read_text(encoding="utf-8")
    counted = re.search(rf"^- `tasks/{task.files.test}\.jsonl[.gz]*`:.*Label counts: (.*)$", described, re.M)
    total = re.search(rf"^\| tasks/{task.files.test}\.jsonl[.gz]* \| [\d,]+ \| ([\d,]+) \|", described, re.M)
    assert total is not None
    assert len(rows) == int(total[1].replace(",", ""))
    if counted is None:
        assert task.name == "blimp"
        return
    expected = {
        int(label): int(count.replace(",", "")) for label, count in re.findall(r"(\d+): ([\d,]*\d)", counted[1])
    }
    items = [task.item(row) for row in rows]
    assert Counter(item.key if isinstance(item, Passage) else item.answer for item in items) == expected


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_context_ends_in_no_space_and_a_continuation_begins_with_one(task, published):
    for row in published(task):
        item = task.item(row)
        if isinstance(item, Passage):
            assert item.text == item.text.strip()
            continue
        assert isinstance(item, Choices)
        for option in item.options:
            assert not option.context.endswith((" ", "\n"))
            # A blank at a sentence's end leaves only its full stop.
            bare = task.name in WHOLE_SENTENCES or re.fullmatch(r"[.!?]", option.continuation)
            assert bool(bare) or option.continuation.startswith(" ")
            assert not option.continuation.startswith("  ")
            assert option.continuation.strip()


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_an_example_is_the_item_with_its_right_answer(task, published):
    row = published(task)[0]
    item = task.item(row)
    text = shown(item) if task.demonstration is None else task.demonstration(row)
    assert text == text.strip()
    if isinstance(item, Choices):
        assert text.endswith(item.options[item.answer].continuation)
    assert not isinstance(item, Question)


def test_good_sentences_stand_first_about_as_often_as_second(published):
    answers = [blimp.BLIMP.item(row).answer for row in published(blimp.BLIMP)]
    assert 0.48 < sum(answers) / len(answers) < 0.52


def test_the_phenomena_are_those_of_the_file(published):
    assert {row["phenomenon"] for row in published(blimp.BLIMP)} == set(blimp.PHENOMENA)
