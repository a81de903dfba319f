"""Where sentences end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensue.evaluate.sentences import first_sentence, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Mr. J. R. Fox of the U.S. army paid 3.5 pounds. He left.", [2]),
        ('"Really?" he asked. "Yes!" She left…', [3]),
        ("all of it. in small letters", [2]),
        ("我是狐狸。“你好！”他说。对", [4]),
        ("One line\nand another\n\n", [2]),
        ("Der z.B. Nr. 5 ist. Ein Hund! Zwei.", [3]),
        ("", [0]),
        ("   \n", [0]),
    ],
)
def test_sentences_are_counted(text: str, expected: list[int]) -> None:
    assert [len(sentences(text))] == expected


def test_sentences_as_they_stand() -> None:
    assert sentences(' "Really?" he asked. Yes (no.) Oh. ') == ['"Really?" he asked.', "Yes (no.)", "Oh."]
    assert first_sentence(" Un chat. Un chien.\nRien") == "Un chat."
    assert first_sentence(" 一只猫。一只狗。") == "一只猫。"
    assert first_sentence("") == ""


@given(st.text(alphabet=st.sampled_from("aA.!?。 \n\"'”"), max_size=40))
def test_nothing_is_lost_but_space(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
