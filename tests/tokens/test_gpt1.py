"""GPT's tokenizer against transformers, in each of its three readings of the rules."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings

from ensue.tokens.gpt1 import Gpt1Tokenizer, standardise
from ensue.tokens.tokenizer import load_tokenizer
from ensue.tokens.vocabulary_files import read_merges, read_vocabulary

from .conftest import adversarial_texts

# What transformers 4.57.3's OpenAIGPTTokenizer, with ftfy 6.3.1 and spaCy 3.8.18, gave for the published vocabulary,
# recorded because transformers 5 no longer has that tokenizer.
RECORDED = json.loads(Path(__file__).with_name("gpt1_ids_of_transformers_4.json").read_text(encoding="utf-8"))


def read(folder: Path, rules: str) -> Gpt1Tokenizer:
    vocabulary, merges = folder / "encoder_bpe_40000.json", folder / "vocab_40000.bpe"
    if not vocabulary.exists():
        vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    return Gpt1Tokenizer(read_vocabulary(vocabulary), read_merges(merges), rules=rules)


@pytest.fixture(scope="module")
def published(shared_data):
    pytest.importorskip("spacy", reason="GPT's tokenizer needs the extra ensue[gpt1]")
    return load_tokenizer(shared_data / "bpe" / "gpt1")


@pytest.fixture(scope="module")
def as_transformers_5(gpt1_files):
    from transformers import OpenAIGPTTokenizer

    return read(gpt1_files, "transformers-5"), OpenAIGPTTokenizer.from_pretrained(gpt1_files)


def test_published_ids(published):
    # facts 1.2
    assert (published.vocab_size, published.end) == (40478, 40477)
    known = {"the": 481, "very": 963, "positive": 6353, "negative": 9503, "$": 289, ".": 239}
    assert {word: published.encode(word) for word in known} == {word: [token] for word, token in known.items()}
    assert published.encode("The\n  VERY") == [481, 40477, 963]
    assert published.decode(published.encode("The very  Positive.")) == "the very positive ."


def test_ids_equal_those_transformers_4_gave(shared_data):
    pytest.importorskip("spacy", reason="GPT's tokenizer needs the extra ensue[gpt1]")
    tokenizer = read(shared_data / "bpe" / "gpt1", "transformers-4")
    different = [row["text"] for row in RECORDED if tokenizer.encode(row["text"]) != row["ids"]]
    assert different == []
    assert [ids.tolist() for ids in tokenizer.encode_batch([row["text"] for row in RECORDED])] == [
        row["ids"] for row in RECORDED
    ]


def test_the_release_differs_from_transformers_4_only_by_case_and_backslashes(published):
    lowered = [row for row in RECORDED if row["text"] == row["text"].lower() and "\\" not in row["text"]]
    assert len(lowered) > 5
    assert [published.encode(row["text"]) for row in lowered] == [row["ids"] for row in lowered]


def test_the_release_keeps_abbreviations_whole_and_backslashes_unspaced(published, shared_data):
    vocabulary = read_vocabulary(shared_data / "bpe" / "gpt1" / "encoder_bpe_40000.json")
    assert published.encode("Mr. Smith")[0] == vocabulary["mr.</w>"]
    ported = read(shared_data / "bpe" / "gpt1", "transformers-4")
    assert ported.encode("Mr. Smith")[:2] == [vocabulary["mr</w>"], vocabulary[".</w>"]]
    assert standardise("a\\b") == "a\\b"
    assert standardise("a\\b", "transformers-4") == "a \\ b"
    assert published.fingerprint != ported.fingerprint


@settings(max_examples=300)
@given(text=adversarial_texts())
def test_ids_equal_those_of_the_installed_transformers(text, as_transformers_5):
    ours, theirs = as_transformers_5
    assert ours.encode(text) == theirs(text, split_special_tokens=True)["input_ids"]


@settings(max_examples=60)
@given(text=adversarial_texts())
def test_any_text_encodes_and_decodes(text, published):
    ids = published.encode(text)
    assert all(0 <= token < published.vocab_size for token in ids)
    assert published.decode(ids) == published.decode(ids).strip()


def test_a_cached_word_and_a_full_cache_change_nothing(published, monkeypatch):
    text = "the old house by the sea was the house of an old man"
    first = published.encode(text)
    monkeypatch.setattr("ensue.tokens.gpt1.CACHED_WORDS", 3)
    assert published.encode(text) == first


def test_saved_folder_loads_here_and_in_transformers(published, tmp_path, gpt1_files):
    from transformers import AutoTokenizer

    published.save(tmp_path / "release")
    again = load_tokenizer(tmp_path / "release")
    assert again.fingerprint == published.fingerprint
    assert again.encode("Mr. Smith's house\nwas old.") == published.encode("Mr. Smith's house\nwas old.")
    ours = read(gpt1_files, "transformers-5")
    ours.save(tmp_path / "bert")
    assert load_tokenizer(tmp_path / "bert").fingerprint == ours.fingerprint
    theirs = AutoTokenizer.from_pretrained(tmp_path / "bert")
    assert theirs("The Statement, naïve")["input_ids"] == ours.encode("The Statement, naïve")


def test_without_the_extra_it_says_what_to_install(gpt1_files, monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(ValueError, match=r"pip install 'ensue\[gpt1\]'"):
        load_tokenizer(gpt1_files).encode("the")


def test_unknown_rules_are_refused(gpt1_files):
    with pytest.raises(ValueError, match="use release, transformers-4, transformers-5"):
        read(gpt1_files, "bert")
