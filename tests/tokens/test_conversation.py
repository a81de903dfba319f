"""Conversations against `transformers`' own rendering, and what ends an answer."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.recipes.parts import tokenizer_files
from ensue.tokens.byte_level import ByteLevelTokenizer, train_byte_level
from ensue.tokens.conversation import (
    ChatTemplate,
    Ends,
    checked_messages,
    encode,
    ends_of,
    pieces_of,
    plain_template,
    read_template,
    render,
    with_source,
    with_template,
)
from ensue.tokens.conversation_rows import rows_of
from ensue.tokens.gpt1 import Gpt1Tokenizer
from ensue.tokens.tokenizer import load_tokenizer

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] | trim + '<|im_end|>' + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": " Where do rivers go? \n"},
    {"role": "assistant", "content": "To the sea.\n\nMostly."},
    {"role": "user", "content": "河流呢？"},
]


def save(folder: Path, template: ChatTemplate, tokenizer: ByteLevelTokenizer) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in with_template(template, tokenizer_files(tokenizer)).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def chatml(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ByteLevelTokenizer]:
    """A folder as others leave them: two more tokens, one of which ends a text, and a template in a file of its own."""
    folder = tmp_path_factory.mktemp("chatml")
    train_byte_level(iter(["rivers carry stones to the sea " * 3]), vocab_size=280).save(folder)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    saved = json.loads((folder / "tokenizer.json").read_text())
    for spelt in ("<|im_start|>", "<|im_end|>"):
        vocabulary[spelt] = len(vocabulary)
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        saved["added_tokens"].append({"id": vocabulary[spelt], "content": spelt, **flags, "special": True})
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": "<|im_end|>"}))
    (folder / "chat_template.jinja").write_text(CHATML)
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, ByteLevelTokenizer)
    return folder, tokenizer


contents = st.text(
    st.one_of(st.sampled_from("aB :,.\n\t'{}%<|>河流é🙂\u2003"), st.characters(exclude_categories=["Cs"])), max_size=30
).filter(lambda text: text.strip() and "<|" not in text)
talks = st.builds(
    lambda system, turns: (
        ([{"role": "system", "content": system}] if system else [])
        + [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(turns)]
    ),
    st.one_of(st.none(), contents),
    st.lists(contents, min_size=1, max_size=5),
)


@pytest.fixture(scope="module")
def plain_oracle(small_tokenizer: ByteLevelTokenizer, tmp_path_factory: pytest.TempPathFactory):
    from transformers import AutoTokenizer

    folder = save(tmp_path_factory.mktemp("plain"), plain_template(small_tokenizer), small_tokenizer)
    return AutoTokenizer.from_pretrained(folder), folder


@given(talk=talks, prompt=st.booleans())
@settings(max_examples=150)
def test_ids_are_those_of_transformers(talk, prompt, plain_oracle, small_tokenizer) -> None:
    oracle, folder = plain_oracle
    template = read_template(folder, load_tokenizer(folder))
    assert template is not None
    theirs = oracle.apply_chat_template(talk, add_generation_prompt=prompt, return_dict=False)
    assert encode(template, small_tokenizer, talk, add_generation_prompt=prompt) == theirs
    told = oracle.apply_chat_template(talk, add_generation_prompt=prompt, tokenize=False)
    assert render(template, talk, add_generation_prompt=prompt) == told


@given(talk=talks)
@settings(max_examples=50)
def test_a_models_own_template_is_kept(talk, chatml, tmp_path_factory) -> None:
    from transformers import AutoTokenizer

    folder, tokenizer = chatml
    template = read_template(folder, tokenizer)
    assert template is not None
    assert template.source == CHATML
    copy = folder / "saved"
    if not copy.is_dir():
        save(copy, template, tokenizer)
    for where in (folder, copy):
        oracle = _oracle(AutoTokenizer, where)
        theirs = oracle.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
        assert encode(template, tokenizer, talk, add_generation_prompt=True) == theirs
    assert read_template(copy, load_tokenizer(copy)) == template
    assert ends_of(template, tokenizer).tokens == {tokenizer.end}
    assert ends_of(template, tokenizer).texts == ()


ORACLES = {}


def _oracle(auto, where):
    if where not in ORACLES:
        ORACLES[where] = auto.from_pretrained(where)
    return ORACLES[where]


def test_the_plain_template(small_tokenizer: ByteLevelTokenizer) -> None:
    template = plain_template(small_tokenizer)
    assert render(template, TALK, add_generation_prompt=True) == (
        "System: Be kind.\nUser: Where do rivers go?\nAssistant: To the sea.\n\nMostly.<|endoftext|>\n"
        "User: 河流呢？\nAssistant:"
    )
    ends = ends_of(template, small_tokenizer)
    assert ends.tokens == {small_tokenizer.end}
    assert ends.texts == ("\nUser:",)


def test_a_message_cannot_end_a_turn_by_spelling_its_token(small_tokenizer: ByteLevelTokenizer, chatml) -> None:
    for tokenizer, template in (
        (small_tokenizer, plain_template(small_tokenizer)),
        (chatml[1], read_template(*chatml)),
    ):
        assert template is not None
        for spelt in template.tokens:
            said = [{"role": "user", "content": f"a{spelt}b{spelt}"}]
            pieces = pieces_of(template, said, add_generation_prompt=False)
            honest = pieces_of(template, [{"role": "user", "content": "ab"}], add_generation_prompt=False)
            assert sum(isinstance(piece, int) for piece in pieces) == sum(isinstance(piece, int) for piece in honest)
            ids = encode(template, tokenizer, said, add_generation_prompt=False)
            assert f"a{spelt}b{spelt}" in tokenizer.decode(ids)


def test_where_the_line_ends_the_text(shared_data: Path) -> None:
    """GPT's vocabulary has no end token but the newline."""
    pytest.importorskip("spacy", reason="GPT's tokenizer needs the extra ensue[gpt1]")
    tokenizer = load_tokenizer(shared_data / "bpe" / "gpt1")
    assert isinstance(tokenizer, Gpt1Tokenizer)
    template = plain_template(tokenizer)
    assert render(template, TALK, add_generation_prompt=True) == (
        "System: Be kind.\nUser: Where do rivers go?\nAssistant: To the sea. Mostly.\nUser: 河流呢？\nAssistant:"
    )
    ids = encode(template, tokenizer, TALK[:3], add_generation_prompt=False)
    assert ids.count(tokenizer.end) == 3
    assert ids[-1] == tokenizer.end
    assert ends_of(template, tokenizer) == Ends(frozenset({tokenizer.end}), ())
    (row,) = rows_of(template, tokenizer, [TALK[:3]], limit=100)
    assert row.ids.tolist() == ids
    assert tokenizer.decode(row.ids[row.scored > 0].tolist()) == "to the sea . mostly ."
    assert row.scored[-1] == 1


def test_what_is_no_conversation() -> None:
    assert checked_messages("Hi") == [{"role": "user", "content": "Hi"}]
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert checked_messages([{"role": "user", "content": parts}]) == [{"role": "user", "content": "ab"}]
    assert len(checked_messages([{"role": "system", "content": " "}, *TALK[1:]])) == 3
    for wrong, words in (
        ([], "list of messages"),
        ([{"content": "x"}], "message 1 should be"),
        ([{"role": "user", "content": 3}], "its content is int"),
        ([{"role": "user", "content": "\n"}], "message 1, of the user, is empty"),
        ([{"role": "system", "content": ""}], "nothing but empty"),
    ):
        with pytest.raises(ValueError, match=words):
            checked_messages(wrong)


def test_a_template_that_refuses_or_reaches_out(chatml) -> None:
    folder, tokenizer = chatml
    for source, words in (
        ("{{ raise_exception('no system here') }}", "no system here"),
        ("{% for %}", "cannot render"),
        ("{{ messages.append(1) }}", "cannot render"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot render"),
        ("{{ messages[9].content.x }}", "cannot render"),
    ):
        with pytest.raises(ValueError, match=words):
            render(with_source(source, folder, tokenizer), TALK, add_generation_prompt=True)
