"""Candidates in a pronoun's place: small and large letters, whose thing it is, and what is scored."""

import pytest

from ensue.evaluate.tasks.first_paper import GPT_DPRD, GPT_WINOGRAD, dprd_rows
from ensue.evaluate.tasks.winograd import WINOGRAD, WINOGRAD_FULL, WINOGRANDE, substitute


@pytest.mark.parametrize(
    ("text", "candidate", "reads"),
    [
        ("They slept because _ was dark.", "The room", "They slept because the room was dark."),
        ("It was late. _ was dark.", "the room", "It was late. The room was dark."),
        ("Look! _ fell!", "The vase", "Look! The vase fell!"),
        ("_ was dark.", "the room", "The room was dark."),
        ("He said _ left.", "My father", "He said my father left."),
        ("He said _ left.", "Dr. Adams", "He said Dr. Adams left."),
        ("He said _ left.", "Theodore", "He said Theodore left."),
    ],
)
def test_a_candidate_reads_as_if_it_had_been_written_there(text, candidate, reads):
    found = substitute(text, [candidate])
    assert found.before + found.candidates[0] + found.rest == reads


def test_somebody_gets_an_s():
    found = substitute("He moved _ bishop.", ["The barman", "Emma's mother"], of_somebody=True)
    assert found.candidates == ("the barman's", "Emma's mother's")


def test_a_text_without_a_blank_is_refused():
    with pytest.raises(ValueError, match="there is no blank _"):
        substitute("He moved it.", ["The barman"])


def test_the_whole_and_the_part_are_one_text(published):
    for row in published(WINOGRAD):
        whole, part = WINOGRAD_FULL.item(row), WINOGRAD.item(row)
        assert whole.answer == part.answer
        assert [option.context + option.continuation for option in part.options] == [
            option.continuation for option in whole.options
        ]
        assert part.options[0].continuation == part.options[1].continuation
        assert part == GPT_WINOGRAD.item(row)


def test_twenty_four_of_the_273_are_somebodys(published):
    contexts = [WINOGRAD.item(row).options for row in published(WINOGRAD)]
    assert sum(all(option.context.endswith("'s") for option in options) for options in contexts) == 24


def test_no_blank_is_left_and_no_space_before_a_full_stop(published):
    for row in published(WINOGRAD):
        for option in WINOGRAD_FULL.item(row).options:
            assert "_" not in option.continuation
            assert " ." not in option.continuation


def test_winogrande_differs_only_in_the_candidate(published):
    for row in published(WINOGRANDE):
        first, second = WINOGRANDE.item(row).options
        assert first.continuation == second.continuation
        assert first.context.removesuffix(row["choices"][0]) == second.context.removesuffix(row["choices"][1])


DPRD = """The bee landed on the flower because it had pollen.
it
The bee,The flower
The flower

He told James that Robert had lost his keys since his pocket was torn.
his
James,Robert
Robert

"""


def test_the_pronouns_of_rahman_and_ng(tmp_path):
    path = tmp_path / "dprd_test.c.txt"
    path.write_text(DPRD)
    first, second = map(GPT_DPRD.item, dprd_rows(str(path)))
    assert [option.context for option in first.options] == [
        "The bee landed on the flower because the bee",
        "The bee landed on the flower because the flower",
    ]
    assert first.options[0].continuation == " had pollen."
    assert (first.answer, second.answer) == (1, 1)
    assert second.options[1].context == "He told James that Robert had lost Robert's"


def test_a_damaged_item_of_rahman_and_ng_names_its_line(tmp_path):
    path = tmp_path / "dprd_test.txt"
    path.write_text(DPRD + "The bee landed.\nit\nThe bee,The flower\nThe flower\n\n")
    with pytest.raises(ValueError, match="line 11"):
        list(dprd_rows(str(path)))
