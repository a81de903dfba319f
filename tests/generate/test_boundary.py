"""The boundary between context and continuation: nothing lost, spaces with the word after them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.generate.boundary import split_boundary
from ensue.tokens.byte_level import ByteLevelTokenizer


@settings(max_examples=150)
@given(context=st.text(max_size=15), continuation=st.text(min_size=1, max_size=15))
def test_nothing_is_lost(tokenizer: ByteLevelTokenizer, context: str, continuation: str) -> None:
    before, after = split_boundary(tokenizer, context, continuation)
    assert after
    kept = context.rstrip()
    assert before == (tokenizer.encode(kept) or [tokenizer.end])
    assert tokenizer.decode(after) == context[len(kept) :] + continuation


def test_a_space_moves_to_the_continuation(tokenizer: ByteLevelTokenizer) -> None:
    assert split_boundary(tokenizer, "the fox ", "said") == split_boundary(tokenizer, "the fox", " said")
    assert split_boundary(tokenizer, "the fox", " said")[1] == tokenizer.encode(" said")


def test_a_token_across_the_boundary(tokenizer: ByteLevelTokenizer) -> None:
    assert tokenizer.encode("the fox")[: len(tokenizer.encode("the f"))] != tokenizer.encode("the f")
    before, after = split_boundary(tokenizer, "the f", "ox")
    assert (before, after) == (tokenizer.encode("the f"), tokenizer.encode("ox"))
    longer = "ox said to the crow"
    assert split_boundary(tokenizer, "the f", longer) == (tokenizer.encode("the f"), tokenizer.encode(longer))


def test_empty_sides(tokenizer: ByteLevelTokenizer) -> None:
    assert split_boundary(tokenizer, "", "fox") == ([tokenizer.end], tokenizer.encode("fox"))
    assert split_boundary(tokenizer, " \n", "fox") == ([tokenizer.end], tokenizer.encode(" \nfox"))
    with pytest.raises(ValueError, match="continuation is empty"):
        split_boundary(tokenizer, "the fox", "")
