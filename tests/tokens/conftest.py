"""A small real tokenizer and what tokenizers are fuzzed with, shared by the tests of this folder."""

import pydoc_data.topics

import pytest
from hypothesis import strategies

from ensue.tokens.byte_level import ByteLevelTokenizer, train_byte_level

ODD = (
    "aB z'sS'lL 19٣Ⅷ.,-—\"\n\t\r\v\f\x00\x85\xa0\u2003\u3000\u200dé"
    "\u0301ßİſΣ中文字한글हिע🙂👩\u200d🚀𝒜\ue000\U0010ffff<|endoftext|></w>\\"
)


@pytest.fixture(scope="session")
def documentation() -> list[str]:
    """The help topics of the Python that runs the tests, about 0.7 MB of English and code."""
    return [text for _, text in sorted(pydoc_data.topics.topics.items())]


@pytest.fixture(scope="session")
def small_tokenizer(documentation: list[str]) -> ByteLevelTokenizer:
    """A byte-level tokenizer of 1,000 tokens, trained here."""
    return train_byte_level(iter(documentation), vocab_size=1000)


def adversarial_texts() -> strategies.SearchStrategy[str]:
    """Any Unicode, strings dense in what pre-tokenisers stumble on, special tokens' names, and long pre-tokens."""
    no_surrogates = strategies.characters(exclude_categories=["Cs"])
    pieces = ["<|endoftext|>", "'s", "'Re", "  ", "\n\n", " \n", "don't", " the", "Mr. ", "...", "中文", "🙂"]
    long = strategies.builds(
        str.__mul__, strategies.sampled_from(["a", " ", "ab", "中", "=", "9", "\n"]), strategies.integers(16, 3000)
    )
    return strategies.one_of(
        strategies.text(no_surrogates),
        strategies.text(strategies.sampled_from(ODD)),
        strategies.lists(
            strategies.one_of(strategies.sampled_from(pieces), strategies.text(no_surrogates, max_size=5))
        ).map("".join),
        strategies.builds(str.__add__, long, strategies.text(strategies.sampled_from(ODD), max_size=5)),
    )


@pytest.fixture(scope="session")
def gpt1_files(tmp_path_factory, documentation):
    """A folder with a small vocabulary in the GPT release's spelling, trained here: vocab.json and merges.txt."""
    import json

    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    backend.train_from_iterator(documentation, trainer)
    model = json.loads(backend.to_str())["model"]
    folder = tmp_path_factory.mktemp("gpt1")
    vocabulary = {**model["vocab"], "\n</w>": len(model["vocab"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    return folder
