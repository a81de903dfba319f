"""Stop strings: whatever the pieces, the text ends before the first complete one and nothing uncertain comes out."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ensue.generate.continuation import Continuation, StopText
from ensue.tokens.byte_level import ByteLevelTokenizer

alphabet = st.text("abc", max_size=12)


def cut(text: str, stops: list[str]) -> str:
    """Character by character: before the longest stop string that the shortest prefix of the text ends with."""
    for size in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:size].endswith(stop)]
        if ending:
            return text[: size - max(map(len, ending))]
    return text


@settings(max_examples=300)
@given(pieces=st.lists(alphabet, max_size=8), stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
@example(pieces=["abc"], stops=["abc", "b"])
@example(pieces=["aa", "ab"], stops=["aab"])
def test_pieces_do_not_matter(pieces: list[str], stops: list[str]) -> None:
    stop_text, out, text = StopText(stops), "", "".join(pieces)
    for piece in pieces:
        out += stop_text.feed(piece)
        assert cut(text, stops).startswith(out)  # what is out is never taken back
        if stop_text.stopped:
            break
    out += stop_text.finish()
    assert out == cut(text, stops)
    assert stop_text.stopped == (cut(text, stops) != text)


def test_nothing_is_held_back_without_need() -> None:
    stop_text = StopText(["\n\n"])
    assert [stop_text.feed(piece) for piece in ("a", "b\n", "c", "\n", "\n")] == ["a", "b", "\nc", "", ""]
    assert stop_text.stopped


@settings(max_examples=60)
@given(text=st.text(max_size=40))
def test_tokens_in_whole_characters_out(tokenizer: ByteLevelTokenizer, text: str) -> None:
    continuation = Continuation(tokenizer, [])
    pieces = [continuation.feed(token) for token in tokenizer.encode(text)]
    assert "".join(pieces) + continuation.finish() == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


def test_a_stop_string_of_several_tokens_and_split_characters(tokenizer: ByteLevelTokenizer) -> None:
    tokens = tokenizer.encode("狐狸 says: 🌵! and more")
    assert len(tokenizer.encode("🌵")) > 1
    continuation = Continuation(tokenizer, ["🌵!"])
    text = "".join(continuation.feed(token) for token in tokens) + continuation.finish()
    assert text == "狐狸 says: "
    assert continuation.stopped


def test_no_token_is_asked_for_behind_a_stop_string(tokenizer: ByteLevelTokenizer) -> None:
    tokens = iter([*tokenizer.encode("one! two"), tokenizer.end])
    assert "".join(Continuation(tokenizer, ["!"]).pieces(tokens)) == "one"
    assert tokenizer.decode(list(tokens)).startswith(" two")
    assert "".join(Continuation(tokenizer, []).pieces([*tokenizer.encode("one"), tokenizer.end])) == "one"


@pytest.mark.parametrize(("stops", "message"), [("abc", r"type stop=\['abc'\]"), ([""], "empty")])
def test_bad_stops(stops: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StopText(stops)
