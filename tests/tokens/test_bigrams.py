"""Bigram counts equal a count by hand, however the shard is cut into pieces."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.tokens import bigrams


@settings(max_examples=30)
@given(tokens=st.lists(st.integers(0, 6), min_size=2, max_size=60), piece=st.integers(1, 20))
def test_counts_equal_a_count_by_hand(tokens: list[int], piece: int) -> None:
    by_hand = Counter(pairwise(tokens))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigrams, "TOKENS_AT_ONCE", piece)
        counts = bigrams.count_bigrams(np.array(tokens, np.uint16), 7)
    assert counts.sum() == len(tokens) - 1
    assert {(a, b): counts[a, b] for a, b in zip(*counts.nonzero(), strict=True)} == by_hand
