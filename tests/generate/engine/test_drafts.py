"""Guesses from the text itself, beside a search that looks at every place."""

from hypothesis import given
from hypothesis import strategies as st

from ensue.generate.engine.drafts import PromptLookup


def by_looking_everywhere(text: list[int], *, longest: int, shortest: int, most: int) -> list[int]:
    for length in range(longest, shortest - 1, -1):
        for start in range(len(text) - length - 1, -1, -1):
            if most and text[start : start + length] == text[-length:]:
                return text[start + length : start + length + most]
    return []


@given(
    text=st.lists(st.sampled_from([0, 1, 2, 256, 65536, 16777216]), min_size=1, max_size=40),
    most=st.integers(0, 6),
    longest=st.integers(1, 5),
)
def test_the_last_time_is_found(text: list[int], most: int, longest: int) -> None:
    lookup = PromptLookup(longest=longest, shortest=1, most=4)
    expected = by_looking_everywhere(text, longest=longest, shortest=1, most=min(most, 4))
    assert lookup.guess([text], [most]) == [expected]
