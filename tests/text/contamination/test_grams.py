"""Grams: the compiled kernels beside plain Python, words and characters, and what does not count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.text.contamination.characters import ALONE, NOTHING, SEPARATOR, WORD, kind_of_character, tables
from ensue.text.contamination.grams import GramSet, GramSize, count_units, find_grams, plain_grams

SIZES = st.builds(GramSize, st.integers(1, 6), st.integers(1, 8))
TEXTS = st.one_of(
    st.text(alphabet="aB c.,-'\n\x1c", max_size=60),
    st.text(alphabet="ab 床前明月光。ก\u0301İß٣" + SEPARATOR, max_size=60),
    st.text(max_size=40),
)


def spans(found) -> list[tuple[int, int]]:
    return list(zip(found.starts.tolist(), found.stops.tolist(), strict=True))


@settings(max_examples=300)
@given(TEXTS, SIZES)
def test_the_kernels_cut_what_plain_python_cuts(text, size):
    plain = list(plain_grams(text, size))
    found = find_grams(text, size)
    assert spans(found) == [(first, stop) for first, stop, _ in plain]
    by_units: dict[tuple[str, ...], set[int]] = {}
    for (_, _, units), value in zip(plain, found.hashes.tolist(), strict=True):
        by_units.setdefault(units, set()).add(value)
    assert all(len(values) == 1 for values in by_units.values())
    assert len({value for values in by_units.values() for value in values}) == len(by_units)


@settings(max_examples=200)
@given(TEXTS, TEXTS, SIZES)
def test_a_set_finds_what_python_sets_find(text, other, size):
    known = {units for _, _, units in plain_grams(other, size)}
    expected = [(first, stop) for first, stop, units in plain_grams(text, size) if units in known]
    assert spans(find_grams(text, size, GramSet(find_grams(other, size).hashes))) == expected


def test_a_large_set_finds_its_members_and_no_others():
    generator = np.random.default_rng(1)
    words = [" ".join(map(str, row)) for row in generator.integers(0, 50, (4000, 3)).tolist()]
    members, others = words[:2000], words[2000:]
    grams = GramSet(find_grams(SEPARATOR.join(members), GramSize(3)).hashes)
    assert len(grams.hashes) == len(set(members))
    found = find_grams(SEPARATOR.join(others), GramSize(3), grams)
    assert len(found.hashes) == sum(word in set(members) for word in others)


def test_case_punctuation_and_white_space_do_not_count():
    one, other = (find_grams(text, GramSize(4)).hashes for text in ('"The Cat,\n sat--" on', "the  cat sat ON."))
    assert one.tolist() == other.tolist()
    assert len(one) == 1


def test_a_gram_of_both_kinds_is_as_long_as_its_shares():
    # Three of six characters and two of four words make one gram.
    assert spans(find_grams("月光光 two words more", GramSize(4, 6))) == [(0, 13), (1, 18)]
    assert count_units("月光光 two words more") == (3, 3)


def test_no_gram_reaches_over_a_separator():
    assert len(find_grams("a b" + SEPARATOR + "c d", GramSize(3)).hashes) == 0


@pytest.mark.parametrize(
    ("character", "kind"), [("é", WORD), ("한", WORD), ("字", ALONE), ("ไ", ALONE), ("𠀀", ALONE), ("—", NOTHING)]
)
def test_what_characters_are(character, kind):
    assert kind_of_character(character) == kind == tables().kind[ord(character)]


def test_the_tables_say_what_the_function_says():
    generator = np.random.default_rng(0)
    for code in generator.integers(0, len(tables().kind), 3000).tolist():
        assert tables().kind[code] == kind_of_character(chr(code)), hex(code)


def test_a_gram_of_nothing_is_refused():
    with pytest.raises(ValueError, match="1 or more words"):
        GramSize(0)
