"""The Children's Book Test in its published layout, written as its books had it."""

import pytest

from ensue.evaluate.rows import read_rows
from ensue.evaluate.splits import find_split
from ensue.evaluate.tasks.cloze import CBT_COMMON_NOUNS, cbt_rows, written

BEGINNING = """1 With almost everything else to make them happy , they wanted one thing : they had no children .
2 This vexed the king even more than the queen , who was very clever and learned .
"""
END = """20 `` No ; the old cats ! ''
21 replied the XXXXX ; for the king 's aunts were old-fashioned .\tqueen\t\tbaby|boy|queen|walls
"""
QUESTION = BEGINNING + "".join(f"{place} It was so .\n" for place in range(3, 20)) + END


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "cbtest_CN_valid_2000ex.txt").write_text(f"{QUESTION}\n{QUESTION.replace('the XXXXX', '`` XXXXX')}\n")
    split = find_split(tmp_path, CBT_COMMON_NOUNS.files.test, role="test", any_ending=True)
    return read_rows(split, CBT_COMMON_NOUNS.files)


def test_a_question_is_twenty_sentences_and_one_with_a_gap(rows):
    assert len(rows) == 2
    assert [len(row["sentences"]) for row in rows] == [20, 20]
    item = CBT_COMMON_NOUNS.item(rows[0])
    assert item.answer == 2
    context = item.options[0].context
    assert context.startswith(
        "With almost everything else to make them happy, they wanted one thing: they had no children."
    )
    assert context.endswith('It was so. "No; the old cats!" replied the')
    assert [option.continuation for option in item.options] == [
        f" {word}; for the king's aunts were old-fashioned." for word in ("baby", "boy", "queen", "walls")
    ]


def test_a_gap_after_an_opening_mark_has_no_space(rows):
    option = CBT_COMMON_NOUNS.item(rows[1]).options[2]
    assert option.context.endswith('replied "')
    assert option.continuation == "queen; for the king's aunts were old-fashioned."


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("I ca n't , '' said he .", "I can't,\" said he."),
        ("`` Who 's there ? ''", '"Who\'s there?"'),
        ("He came -LRB- at last -RRB- .", "He came (at last)."),
        ("` Oh ' , she said ...", "'Oh', she said..."),
        ("the boys ' toys -- all of them", "the boys' toys -- all of them"),
        ("They 'll say you 've won !", "They'll say you've won!"),
    ],
)
def test_a_sentence_is_written_as_its_book_had_it(tokens, text):
    assert written(tokens) == text


@pytest.mark.parametrize(
    "line", ["21 replied the queen .\tqueen\t\ta|queen", "21 replied the XXXXX .\tking\t\ta|queen", "21 XXXXX"]
)
def test_a_damaged_question_names_its_line(tmp_path, line):
    path = tmp_path / "cbt.txt"
    path.write_text(f"1 So .\n{line}\n")
    with pytest.raises(ValueError, match="line 2: no question"):
        list(cbt_rows(str(path)))
