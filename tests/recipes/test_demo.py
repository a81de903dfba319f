"""What the demo reads."""

from __future__ import annotations

from itertools import pairwise

from ensue.recipes.demo import MEGABYTES, libraries_for, useful_bytes
from ensue.text.python_docs import LIBRARIES


def test_more_minutes_read_more_libraries() -> None:
    read = [libraries_for(useful_bytes(seconds, 70e9)) for seconds in (1, 180, 600, 10_000)]
    assert read[0] == LIBRARIES[:2]
    assert read[-1] == LIBRARIES
    assert all(longer[: len(shorter)] == shorter for shorter, longer in pairwise(read))


def test_the_size_of_every_library_is_known() -> None:
    assert tuple(MEGABYTES) == LIBRARIES
