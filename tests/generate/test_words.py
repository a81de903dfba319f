"""The likeliest next word against every word there is, for tokenizers that put spaces before words and after them."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ensue.generate import words
from ensue.generate.lm import LM
from ensue.generate.words import likeliest_word, word_tokens
from ensue.model.gpt import GPT
from ensue.tokens.byte_level import ByteLevelTokenizer
from ensue.tokens.tokenizer import load_tokenizer

MOST = 2


def every_word(lm: LM, prompt: list[int]) -> list[tuple[float, str]]:
    """ln p and text of all words of one and two tokens, likeliest first, from full passes."""
    kinds = word_tokens(lm)
    size = lm.tokenizer.vocab_size
    first = kinds.first.nonzero()[:, 0].tolist()
    further = kinds.further.nonzero()[:, 0].tolist()
    rows = [[*prompt, token] for token in first]
    with torch.no_grad():
        start = lm.model(torch.tensor([prompt])).double().log_softmax(-1)[0, -1]
        second = lm.model(torch.tensor(rows)).double().log_softmax(-1)[:, -1]
        words = []
        for row, token in zip(second, first, strict=True):
            text = kinds.parts[token]
            if kinds.completes[token]:
                words.append((float(start[token]), text))
                continue
            if kinds.spaced:
                ended = math.log(float(row[:size][~kinds.further].exp().sum()))
                words.append((float(start[token]) + ended, text))
            third = lm.model(torch.tensor([[*prompt, token, more] for more in further])).double().log_softmax(-1)[:, -1]
            for more, after in zip(further, third, strict=True):
                both = float(start[token] + row[more])
                if kinds.completes[more]:
                    words.append((both, text + kinds.parts[more]))
                elif kinds.spaced:
                    ended = math.log(float(after[:size][~kinds.further].exp().sum()))
                    words.append((both + ended, text + kinds.parts[more]))
    return sorted(((nats, word.decode("utf-8", "replace")) for nats, word in words), reverse=True)


@pytest.mark.parametrize("at_once", [1, 8])
def test_the_likeliest_word_of_all(make_gpt: Callable[..., GPT], tokenizer: ByteLevelTokenizer, at_once: int) -> None:
    for seed in range(3):
        lm = LM(make_gpt(vocab=332, context=24, seed=seed), tokenizer, Path("nowhere"))
        prompt = tokenizer.encode("The fox said to the")
        ranked = every_word(lm, prompt)
        avoid: set[str] = set()
        for _, word in ranked[:12]:
            if word.lower() in avoid:
                continue
            assert likeliest_word(lm, prompt, avoid=avoid, most=MOST, at_once=at_once) == word
            avoid.add(word.lower())


def test_words_of_the_first_gpt_end_in_their_last_token(make_gpt: Callable[..., GPT], shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "bpe" / "gpt1")
    lm = LM(make_gpt(vocab=tokenizer.vocab_size, context=16), tokenizer, Path("nowhere"))
    kinds = word_tokens(lm)
    assert not kinds.spaced
    prompt = tokenizer.encode("the fox said to the")
    with torch.no_grad():
        start = lm.model(torch.tensor([prompt])).double().log_softmax(-1)[0, -1]
    # A whole word in one token that is likelier than any beginning is the likeliest of all.
    best = max(kinds.first.nonzero()[:, 0].tolist(), key=lambda token: float(start[token]))
    whole = max((kinds.first & kinds.completes).nonzero()[:, 0].tolist(), key=lambda token: float(start[token]))
    word = likeliest_word(lm, prompt)
    assert word
    if best == whole:
        assert word == kinds.parts[whole].decode()


def test_published_words_are_told_from_their_ends(shared_data: Path, make_gpt: Callable[..., GPT]) -> None:
    tokenizer = load_tokenizer(shared_data / "bpe" / "gpt2")
    kinds = word_tokens(LM(make_gpt(vocab=8), tokenizer, Path("nowhere")))
    assert kinds.spaced
    for text, first, further in [(" the", 1, 0), ("ing", 0, 1), (",", 0, 0), ("'s", 0, 1), ("\n", 0, 0)]:
        [token] = tokenizer.encode(text)
        assert (kinds.first[token], kinds.further[token]) == (first, further), text


def test_the_search_has_an_end(lm: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "FOLLOWED", 1)
    prompt = lm.tokenizer.encode("The fox said to the")
    first = likeliest_word(lm, prompt, at_once=1)
    # Only the likeliest beginning was followed, and is a word.
    kinds = word_tokens(lm)
    with torch.no_grad():
        start = lm.model(torch.tensor([prompt]))[0, -1, : lm.tokenizer.vocab_size]
    best = int(torch.where(kinds.first, start, float("-inf")).argmax())
    assert first == kinds.parts[best].decode()


def test_what_does_not_fit_is_refused(lm: LM) -> None:
    with pytest.raises(ValueError, match="do not fit this model's context of 64"):
        likeliest_word(lm, [1] * 60)


def test_nothing_is_said_where_all_words_are_avoided(lm: LM) -> None:
    kinds = word_tokens(lm)
    singles = {part.decode("utf-8", "replace").lower() for part in kinds.parts}
    assert likeliest_word(lm, [5], avoid=singles, most=1) == ""
