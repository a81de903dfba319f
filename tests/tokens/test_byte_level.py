"""Byte-level BPE against transformers, tiktoken and tokenizers, and its promises about size and memory."""

import random

import pytest
import tiktoken
from hypothesis import given, settings

import ensue.tokens.byte_level as byte_level
from ensue.tokens.bulk import checked_bulk_encoder, stress_texts
from ensue.tokens.byte_level import ByteLevelTokenizer, train_byte_level
from ensue.tokens.tokenizer import load_tokenizer

from .conftest import adversarial_texts

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@pytest.fixture(scope="module")
def saved(small_tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    small_tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def from_transformers(saved):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(saved)


@pytest.fixture(scope="module")
def gpt2(shared_data):
    return load_tokenizer(shared_data / "bpe" / "gpt2")


@pytest.fixture(scope="module")
def gpt2_in_transformers(shared_data):
    from transformers import GPT2Tokenizer

    return GPT2Tokenizer.from_pretrained(shared_data / "bpe" / "gpt2")


@pytest.fixture(scope="module")
def small_in_tiktoken(small_tokenizer):
    return in_tiktoken(small_tokenizer)


def in_tiktoken(tokenizer):
    ranks = {tokenizer.token_bytes(token): token for token in range(tokenizer.vocab_size) if token != tokenizer.end}
    return tiktoken.Encoding("here", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})


@settings(max_examples=300)
@given(text=adversarial_texts())
def test_ids_equal_those_of_transformers_and_tiktoken(text, small_tokenizer, from_transformers, small_in_tiktoken):
    ids = small_tokenizer.encode(text)
    assert ids == from_transformers(text, split_special_tokens=True)["input_ids"]
    assert ids == small_in_tiktoken.encode_ordinary(text)
    assert small_tokenizer.encode_batch([text, ""])[0].tolist() == ids
    assert small_tokenizer.end not in ids
    assert small_tokenizer.decode(ids) == text


@settings(max_examples=100)
@given(text=adversarial_texts())
def test_the_published_tokenizer_equals_transformers(text, gpt2, gpt2_in_transformers):
    ids = gpt2.encode(text)
    assert ids == gpt2_in_transformers(text, split_special_tokens=True)["input_ids"]
    assert gpt2.encode_batch([text])[0].tolist() == ids
    assert gpt2.decode(ids) == text


def test_published_ids(gpt2):
    assert (gpt2.vocab_size, gpt2.end) == (50257, 50256)
    assert [gpt2.encode(text) for text in (" positive", " negative", " very", "\n\n")] == [[3967], [4633], [845], [628]]
    assert gpt2.encode("<|endoftext|>") != [50256]


def test_long_pre_tokens_and_every_stress_text_agree_with_tiktoken(gpt2):
    texts = stress_texts()
    assert max(map(len, texts)) >= 5000
    second_opinion = in_tiktoken(gpt2)
    expected = [second_opinion.encode_ordinary(text) for text in texts]
    assert [ids.tolist() for ids in gpt2.encode_batch(texts)] == expected


@settings(max_examples=200)
@given(ids=adversarial_texts().map(lambda text: [ord(character) % 1000 for character in text]))
def test_decode_of_any_ids_equals_transformers(ids, small_tokenizer, from_transformers):
    # Cut characters decode to U+FFFD, the same number of them.
    assert small_tokenizer.decode(ids) == from_transformers.decode(ids, clean_up_tokenization_spaces=False)


def test_bulk_encoder_falls_back_when_fastokens_is_wrong_or_absent(small_tokenizer, monkeypatch):
    import fastokens

    reference = small_tokenizer._backend
    assert "fastokens" in checked_bulk_encoder(reference).__qualname__
    other = train_byte_level(iter(["the cat sat on the mat"] * 9), vocab_size=265)._backend.to_str()

    class Wrong:
        from_json_str = staticmethod(lambda json, build=fastokens.Tokenizer.from_json_str: build(other))

    monkeypatch.setattr(fastokens, "Tokenizer", Wrong)
    assert "reference" in checked_bulk_encoder(reference).__qualname__
    monkeypatch.setitem(__import__("sys").modules, "fastokens", None)
    slow = checked_bulk_encoder(reference)
    assert "reference" in slow.__qualname__
    assert slow(["the end"])[0].tolist() == small_tokenizer.encode("the end")


def test_vocabulary_is_laid_out_as_gpt2s(small_tokenizer, gpt2):
    assert small_tokenizer.vocab_size == 1000
    assert small_tokenizer.end == 999
    first = [small_tokenizer.token_bytes(token) for token in range(256)]
    assert first == [gpt2.token_bytes(token) for token in range(256)]
    assert sorted(first) == [bytes([byte]) for byte in range(256)]
    assert small_tokenizer.token_bytes(999) == b"<|endoftext|>"


def test_training_is_deterministic_and_the_fingerprint_says_so(documentation, small_tokenizer, saved):
    again = train_byte_level(iter(documentation), vocab_size=1000)
    assert again.fingerprint == small_tokenizer.fingerprint == load_tokenizer(saved).fingerprint
    other = train_byte_level(iter(documentation), vocab_size=999)
    assert other.fingerprint != small_tokenizer.fingerprint


def test_a_vocabulary_the_text_cannot_support_is_refused_with_the_largest_it_can():
    text = "the cat sat on the mat and the cat ran"
    with pytest.raises(ValueError, match="at most") as refusal:
        train_byte_level(iter([text]), vocab_size=5000)
    largest = int(str(refusal.value).split("at most ")[1].split(",")[0])
    assert train_byte_level(iter([text]), vocab_size=largest).vocab_size == largest
    with pytest.raises(ValueError, match="at most"):
        train_byte_level(iter([text]), vocab_size=largest + 1)
    for few, supported in (("xy xy", 258), ("xy z", 257)):  # a merge must be seen twice
        with pytest.raises(ValueError, match=f"at most {supported},"):
            train_byte_level(iter([few]), vocab_size=300)
    with pytest.raises(ValueError, match="too small"):
        train_byte_level(iter([text]), vocab_size=256)
    with pytest.raises(ValueError, match="no text"):
        train_byte_level(iter([]), vocab_size=300)
    assert train_byte_level(iter([text]), vocab_size=257).encode("!~") == [0, 93]


def test_large_text_is_sampled_evenly_within_the_bound_and_the_same_each_time():
    chance = random.Random(1)
    texts = [f"{number:04d} " + " ".join(chance.choices(["cat", "dog", "sun"], k=200)) for number in range(2000)]
    seen = []
    sample = byte_level._even_sample(iter(texts), 100_000, lambda documents, size: seen.append((documents, size)))
    size = sum(map(len, sample))
    assert 25_000 <= size <= 100_000
    assert sample == byte_level._even_sample(iter(texts), 100_000, lambda documents, size: None)
    quarters = [sum(texts.index(text) // 500 == quarter for text in sample) for quarter in range(4)]
    assert min(quarters) > len(sample) / 8
    assert seen[-1] == (2000, sum(map(len, texts)))


def test_pieces_of_a_long_text_join_to_it_and_begin_at_spaces():
    text = "word and " * 40_000
    pieces = list(byte_level._pieces(text))
    assert len(pieces) > 1
    assert "".join(pieces) == text
    assert all(piece.startswith(" ") for piece in pieces[1:])
    assert "".join(byte_level._pieces("x" * 200_000)) == "x" * 200_000


def test_chinese_is_learnt_though_it_has_no_spaces(shared_data):
    import gzip
    import json

    with gzip.open(shared_data / "chinese" / "tang_poems_valid.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    tokenizer = train_byte_level(iter(texts), vocab_size=4096)
    ids = tokenizer.encode_batch(texts)
    assert sum(len(text.encode()) for text in texts) / sum(map(len, ids)) > 2.5
    assert all(tokenizer.decode(row.tolist()) == text for row, text in zip(ids[:50], texts, strict=False))


def test_a_lone_surrogate_is_refused_with_advice(small_tokenizer):
    for encode in (small_tokenizer.encode, lambda text: small_tokenizer.encode_batch(["fine", text])):
        with pytest.raises(ValueError, match="U\\+D800 at character 2"):
            encode("ab\ud800")
    with pytest.raises(ValueError, match="Token 1000 is not"):
        small_tokenizer.decode([1000])
    with pytest.raises(ValueError, match="Token -1 is not"):
        small_tokenizer.decode([-1])


def test_incomplete_vocabularies_are_refused():
    symbols = byte_level.byte_symbols()
    whole = {symbol: number for number, symbol in enumerate([*symbols, "<|endoftext|>"])}
    ByteLevelTokenizer(whole, [])
    with pytest.raises(ValueError, match="no token for 1 of the 256 bytes"):
        ByteLevelTokenizer({symbol: number for symbol, number in whole.items() if symbol != "a"}, [])
    with pytest.raises(ValueError, match="separate documents"):
        ByteLevelTokenizer({symbol: number for symbol, number in whole.items() if len(symbol) == 1}, [])
    with pytest.raises(ValueError, match="do not fit"):
        ByteLevelTokenizer(whole, [("a", "b")])


def test_a_vocabulary_of_what_the_text_supports() -> None:
    with pytest.raises(ValueError, match="at most 257"):
        train_byte_level(iter(["abc"]), vocab_size=300)
    assert train_byte_level(iter(["abc"]), vocab_size=300, or_fewer=True).vocab_size == 257
