"""Words, lines and sentences in scripts with and without spaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensue.text.filters.lines import count_sentences, ends_sentence, repeated, width
from ensue.text.filters.words import cut_words

SPACED = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x0DFF))
ANY = st.text(st.characters(exclude_categories=["Cs"]))


@given(SPACED)
def test_spaced_scripts_are_cut_at_spaces(text: str) -> None:
    words = cut_words(text)
    assert words.pieces == text.split()
    assert words.count == len(text.split())
    assert words.marked
    assert words.pieces_a_word == 1.0


@given(ANY)
def test_nothing_between_spaces_is_lost(text: str) -> None:
    words = cut_words(text)
    assert "".join(words.pieces) == "".join(text.split())
    assert 0 <= words.count <= len(words.pieces)
    assert words.short + words.long <= len(words.pieces)


@pytest.mark.parametrize(
    ("text", "pieces", "count"),
    [
        ("你好，世界！", ["你", "好，", "世", "界！"], 3),
        ("GPT模型 is good", ["GPT", "模", "型", "is", "good"], 4),
        ("ที่นี่มีคน", ["ที่", "นี่", "มี", "ค", "น"], 2),
        ("日本語のテキスト。", ["日", "本", "語", "の", "テ", "キ", "ス", "ト。"], 5),
        ("한국어 문장", ["한국어", "문장"], 2),
    ],
)
def test_scripts_without_spaces(text: str, pieces: list[str], count: int) -> None:
    words = cut_words(text)
    assert words.pieces == pieces
    assert words.count == count


def test_scripts_that_end_sentences_without_a_mark() -> None:
    assert not cut_words("มนุษย์ทั้งหลายเกิดมามีอิสระ").marked
    assert cut_words("မြန်မာဘာသာ။").marked
    assert cut_words("A Thai word, คน, in English.").marked


@pytest.mark.parametrize(
    "line",
    ["End.", "End?", "“End!”", "End.)", "End…", "他走了。", "「行きます」", "क्या।", "هل؟", 'He said "no"', "好！）"],
)
def test_lines_that_end_a_sentence(line: str) -> None:
    assert ends_sentence(line)
    assert ends_sentence(line + "  ")


@pytest.mark.parametrize("line", ["", "Menu", "one, two,", "目录", "2023", "(x)", "Read more >"])
def test_lines_that_do_not(line: str) -> None:
    assert not ends_sentence(line)


def test_sentences() -> None:
    assert count_sentences('He said "no." Then he left! Version 1.2.3 came...') == 3
    assert count_sentences("他走了。我说：“好。”他问？没人答！") == 4
    assert count_sentences("no end") == 0


def test_width() -> None:
    assert width("abc") == 3
    assert width("é" * 5) == 5
    assert width("幾年山下事仙翁，") == 22


@given(st.lists(st.text("ab", max_size=3)))
def test_what_was_there_before(parts: list[str]) -> None:
    again = [part for place, part in enumerate(parts) if part in parts[:place]]
    share, characters = repeated(parts)
    assert share * max(len(parts), 1) == pytest.approx(len(again))
    assert characters * max(len("".join(parts)), 1) == pytest.approx(len("".join(again)))
