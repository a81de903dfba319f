"""Tokenizers of models that Ensue does not load, beside transformers'."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ensue.evaluate.local import LocalScorer
from ensue.evaluate.remote import RemoteScorer
from ensue.evaluate.remote_tokenizer import ForeignTokenizer, open_tokenizer
from ensue.evaluate.scorer import Decoding, Prompt, Request
from ensue.generate.lm import LM

TEXTS = ["The fox said to the crow.", "从前有一只狐狸", " two  spaces", "", "naïve café\n"]


@pytest.fixture(scope="module")
def llama_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces with ▁ for a space, bytes for what is not known, and a token that begins every text."""
    rules = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    rules.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    rules.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    special = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    rules.train_from_iterator([*TEXTS] * 4, trainers.BpeTrainer(vocab_size=400, special_tokens=special[:3]))
    rules.add_tokens(special[3:])
    rules.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    folder = tmp_path_factory.mktemp("llama")
    rules.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    return folder


def test_a_foreign_tokenizer_gives_transformers_ids(llama_like: Path) -> None:
    tokenizer, beginning = open_tokenizer(llama_like)
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(llama_like / "tokenizer.json"))
    assert isinstance(tokenizer, ForeignTokenizer)
    assert (beginning, tokenizer.end) == ([1], 2)
    for text in TEXTS:
        assert [*beginning, *tokenizer.encode(text)] == theirs(text)["input_ids"]
        assert tokenizer.encode(text) == tokenizer.encode_batch([text])[0].tolist()
    assert tokenizer.decode(tokenizer.encode(TEXTS[0])) == TEXTS[0]
    assert b"".join(map(tokenizer.token_bytes, tokenizer.encode(TEXTS[0]))).decode() == TEXTS[0]
    assert tokenizer.vocab_size == len(theirs)


def test_ensue_s_own_are_read_as_ever(lm: LM) -> None:
    tokenizer, beginning = open_tokenizer(lm.path)
    assert (tokenizer.fingerprint, beginning) == (lm.tokenizer.fingerprint, [])


def test_what_cannot_be_read(llama_like: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_tokenizer(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no tokenizer"):
        open_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="is no tokenizer that can be read"):
        open_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((llama_like / "tokenizer.json").read_bytes())
    with pytest.raises(ValueError, match=r"does not name the end token \(eos_token\)"):
        open_tokenizer(tmp_path)


def test_the_beginning_stands_before_every_text(
    lm: LM, serve: Callable[..., Any], connect: Callable[..., RemoteScorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the end token for a beginning, an empty context is what it is without one, and any other has it first."""
    server = serve()
    scorer = connect(server)
    scorer._beginning = [lm.tokenizer.end]
    plain = LocalScorer(lm)
    [alone, after] = scorer.loglikelihood([Request("", "The end"), Request("The fox said to the", " crow")])
    assert alone.token_nats == pytest.approx(plain.loglikelihood([Request("", "The end")])[0].token_nats, abs=1e-6)
    ids = lm.tokenizer.encode
    first = [body["prompt"] for body in server.habits.bodies[1:]]
    assert [lm.tokenizer.end, *ids("The end")] in first
    assert [lm.tokenizer.end, *ids("The fox said to the crow")] in first
    assert after.nats != pytest.approx(plain.loglikelihood([Request("The fox said to the", " crow")])[0].nats, abs=1e-6)
    long = " ".join(["The fox said to the crow."] * 20)
    [cut] = scorer.loglikelihood([Request(long, " The fox")])
    assert cut.cut + 63 == len(ids(long + " The fox")), "63 tokens beside the beginning"
    [unscored] = scorer.loglikelihood([Request("The", " fox" * 100)])
    assert unscored.unscored + len(unscored.tokens) == len(ids(" fox" * 100))
    assert len(unscored.tokens) == 63
    assert len(scorer.rolling([long])[0].tokens) == len(ids(long))
    scorer.generate([Prompt(long, Decoding(most=8)), Prompt("", Decoding(most=8))])
    prompts = [body["prompt"] for body in server.habits.bodies[-2:]]
    assert sorted(map(len, prompts)) == [1, 56]
    assert all(prompt[0] == lm.tokenizer.end for prompt in prompts)
    assert scorer.count("The fox") == 1 + len(ids("The fox"))
