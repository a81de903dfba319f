"""Streaming decode: the pieces join to the whole, and no piece holds half a character."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.tokens.stream_decoder import StreamDecoder
from ensue.tokens.tokenizer import load_tokenizer

from .conftest import adversarial_texts


@pytest.fixture(scope="module")
def gpt1(gpt1_files: Path):
    return load_tokenizer(gpt1_files)


def streamed(tokenizer, ids):
    decoder = StreamDecoder(tokenizer)
    return [*(decoder.feed(token) for token in ids), decoder.finish()]


@settings(max_examples=200)
@given(text=adversarial_texts())
def test_pieces_of_a_text_join_to_it_without_replacement_characters(text, small_tokenizer):
    pieces = streamed(small_tokenizer, small_tokenizer.encode(text))
    assert "".join(pieces) == text
    assert ("\ufffd" in "".join(pieces)) == ("\ufffd" in text)


@settings(max_examples=200)
@given(ids=st.lists(st.integers(0, 999)))
def test_any_ids_join_to_their_decoding(ids, small_tokenizer):
    assert "".join(streamed(small_tokenizer, ids)) == small_tokenizer.decode(ids)


@settings(max_examples=200)
@given(ids=st.lists(st.integers(0, 600)))
def test_a_tokenizer_that_strips_streams_the_same(ids, gpt1):
    assert "".join(streamed(gpt1, [gpt1.end, *ids, gpt1.end])) == gpt1.decode([gpt1.end, *ids, gpt1.end])


def test_bytes_of_one_character_wait_for_its_last(small_tokenizer):
    ids = [small_tokenizer.encode("a")[0], *small_tokenizer.encode("🙂")]
    assert len(ids) > 2
    pieces = streamed(small_tokenizer, ids)
    assert pieces == ["a", *[""] * (len(ids) - 2), "🙂", ""]
    assert streamed(small_tokenizer, ids[:-1])[-1] == "\ufffd"
