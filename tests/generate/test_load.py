"""ensue.load: every kind of folder, and every kind of damage refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import ensue
from ensue.core.files import write_checksums
from ensue.core.run import RunFolder
from ensue.generate.lm import LM
from ensue.generate.load import load
from ensue.model.gpt import GPT
from ensue.model.presets import gpt
from ensue.model.weights import save_model
from ensue.model.weights.original_gpt import save_original_gpt
from ensue.tokens.byte_level import ByteLevelTokenizer, train_byte_level

PROMPT = "The fox said"


@pytest.fixture
def checkpoint(lm: LM, tmp_path: Path) -> Path:
    """What training writes, without the optimizer."""
    folder = tmp_path / "run" / "checkpoints" / "00000010"
    save_model(lm.model, folder)
    lm.tokenizer.save(folder)
    record = {"format": 1, "step": 10, "tokenizer": lm.tokenizer.fingerprint}
    (folder / "ensue.json").write_text(json.dumps(record))
    write_checksums(folder)
    return folder


def test_a_run_and_its_checkpoint(lm: LM, checkpoint: Path) -> None:
    run = RunFolder(checkpoint.parents[1])
    run.point("final", checkpoint)
    expected = lm.generate(PROMPT, max_new_tokens=15)
    for path in (checkpoint, str(checkpoint), run.path):
        loaded = ensue.load(path, device="cpu")
        assert isinstance(loaded, ensue.LM)
        assert loaded.generate(PROMPT, max_new_tokens=15) == expected
        assert loaded.path == checkpoint
        assert loaded.config == lm.config
        assert not loaded.model.training
    tokens = torch.tensor([lm.tokenizer.encode(PROMPT)])
    assert torch.equal(loaded.model(tokens), lm.model(tokens))


def test_a_hugging_face_folder(tokenizer: ByteLevelTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    size = {"n_positions": 48, "n_embd": 24, "n_layer": 2, "n_head": 3, "initializer_range": 0.4}
    end = {"bos_token_id": tokenizer.end, "eos_token_id": tokenizer.end}
    reference = GPT2LMHeadModel(GPT2Config(vocab_size=tokenizer.vocab_size, **size, **end)).eval()
    reference.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    loaded = load(tmp_path, device="cpu")
    ids = torch.tensor([tokenizer.encode(PROMPT)])
    out = reference.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False, pad_token_id=tokenizer.end
    )
    expected = tokenizer.decode([token for token in out[0, ids.shape[1] :].tolist() if token != tokenizer.end])
    assert loaded.generate(PROMPT, max_new_tokens=20) == expected
    half = load(tmp_path, device="cpu", dtype="bf16")
    assert half.model.token_embedding.weight.dtype == torch.bfloat16
    assert isinstance(half.generate([PROMPT, "crow"], max_new_tokens=40, temperature=1.0), list)  # slides, in bf16


def test_an_original_release(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    pytest.importorskip("ftfy")
    vocabulary = next(shared_data.rglob("encoder_bpe_40000.json*"), None)
    merges = next(shared_data.rglob("vocab_40000.bpe*"), None)
    if vocabulary is None or merges is None or ".gz" in (vocabulary.suffix, merges.suffix):
        pytest.skip("the GPT release's vocabulary is not in the published data as plain files")
    model = GPT.build(gpt(layers=1, width=64, heads=1, context=12), 0).eval()
    save_original_gpt(model, tmp_path)
    shutil.copy(vocabulary, tmp_path / "encoder_bpe_40000.json")
    shutil.copy(merges, tmp_path / "vocab_40000.bpe")
    loaded = load(tmp_path, device="cpu")
    tokens = torch.tensor([loaded.tokenizer.encode("Once upon a time.")])
    torch.testing.assert_close(loaded.model(tokens), model(tokens), atol=1e-5, rtol=0)
    assert isinstance(loaded.generate("Once upon a time.", max_new_tokens=20), str)


def test_a_flipped_bit_and_a_truncated_file_are_named(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-5] + bytes([whole[-5] ^ 4]) + whole[-4:])
    with pytest.raises(ValueError, match=r"model\.safetensors is not the file that was written"):
        load(checkpoint)
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load(checkpoint)
    (checkpoint / "checksums.json").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load(checkpoint)
    weights.write_bytes(whole)
    (checkpoint / "merges.txt").unlink()
    (checkpoint / "vocab.json").unlink()
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="holds no tokenizer"):
        load(checkpoint)


def test_another_tokenizer_is_refused(lm: LM, checkpoint: Path) -> None:
    other = train_byte_level(iter(["another text, another text, another tokenizer"] * 3), vocab_size=265)
    other.save(checkpoint)
    with pytest.raises(ValueError, match="is not the file that was written"):
        load(checkpoint)
    write_checksums(checkpoint)
    with pytest.raises(ValueError, match=f"{lm.tokenizer.fingerprint}.*{other.fingerprint}"):
        load(checkpoint)
    (checkpoint / "ensue.json").write_text("{}")
    write_checksums(checkpoint)
    with pytest.raises(ValueError, match=r"ensue\.json is damaged"):
        load(checkpoint)


def test_a_tokenizer_larger_than_the_model_is_refused(
    make_gpt: Callable[..., GPT], tokenizer: ByteLevelTokenizer, tmp_path: Path
) -> None:
    save_model(make_gpt(vocab=300), tmp_path)
    tokenizer.save(tmp_path)
    with pytest.raises(ValueError, match="tokenizer has 320 tokens and the model 300"):
        load(tmp_path)


def test_bad_arguments(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dtype 'fp16'"):
        load(checkpoint, dtype="fp16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no device 'gpu'"):
        load(checkpoint, device="gpu")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load(tmp_path / "nothing")
    np.save(tmp_path / "run" / "x.npy", np.zeros(1))
    with pytest.raises(ValueError, match="is a file"):
        load(tmp_path / "run" / "x.npy")
