"""Every layout a tokenizer is found in, and what is said where there is none or a damaged one."""

import json
import shutil

import pytest

from ensue.tokens.tokenizer import load_tokenizer

TEXT = "It's 3 o'clock,\n\n  naïve 🙂 中文 <|endoftext|> -- done"


@pytest.fixture
def saved(small_tokenizer, tmp_path):
    small_tokenizer.save(tmp_path / "saved")
    return tmp_path / "saved"


def test_every_byte_level_layout_gives_the_same_tokenizer(saved, small_tokenizer, tmp_path):
    layouts = {
        "tokenizer_json": {"tokenizer.json": "tokenizer.json"},
        "gpt2": {"vocab.json": "vocab.json", "merges.txt": "merges.txt"},
        "release": {"vocab.json": "encoder.json", "merges.txt": "vocab.bpe"},
    }
    for name, files in layouts.items():
        (tmp_path / name).mkdir()
        for source, target in files.items():
            shutil.copy(saved / source, tmp_path / name / target)
        assert load_tokenizer(tmp_path / name).fingerprint == small_tokenizer.fingerprint
        assert load_tokenizer(tmp_path / name).encode(TEXT) == small_tokenizer.encode(TEXT)
    headless = tmp_path / "gpt2" / "merges.txt"
    headless.write_text(headless.read_text(encoding="utf-8").partition("\n")[2], encoding="utf-8")
    assert load_tokenizer(tmp_path / "gpt2").fingerprint == small_tokenizer.fingerprint


def test_a_folder_transformers_wrote_gives_the_same_ids(saved, small_tokenizer, tmp_path):
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(saved).save_pretrained(tmp_path / "theirs")
    loaded = load_tokenizer(tmp_path / "theirs")
    assert loaded.fingerprint == small_tokenizer.fingerprint
    assert loaded.encode(TEXT) == small_tokenizer.encode(TEXT)
    assert loaded.end == small_tokenizer.end


def test_a_gpt_folder_transformers_wrote_gives_the_same_vocabulary(gpt1_files, tmp_path):
    from transformers import OpenAIGPTTokenizer

    OpenAIGPTTokenizer.from_pretrained(gpt1_files).save_pretrained(tmp_path / "theirs")
    assert load_tokenizer(tmp_path / "theirs").fingerprint == load_tokenizer(gpt1_files).fingerprint


def test_the_published_layouts(shared_data):
    assert load_tokenizer(shared_data / "bpe" / "gpt2").lossless
    assert not load_tokenizer(shared_data / "bpe" / "gpt1").lossless


def test_another_end_token_is_read_from_the_config(saved, small_tokenizer):
    for eos_token in ("!", {"content": "!", "lstrip": False}):
        (saved / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos_token}))
        assert load_tokenizer(saved).end == 0
        assert load_tokenizer(saved).fingerprint != small_tokenizer.fingerprint


def test_nothing_to_load_says_what_is_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"vocab\.json with merges\.txt.*encoder_bpe_40000\.json.*tokenizer\.json"):
        load_tokenizer(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_tokenizer(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer_config.json"])
def test_damaged_json_is_named(saved, name):
    whole = (saved / name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"[]", b"\xff" + whole):
        (saved / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=name):
            load_tokenizer(saved)


def test_a_damaged_tokenizer_json_is_named(saved):
    (saved / "vocab.json").unlink()
    path = saved / "tokenizer.json"
    whole = path.read_text(encoding="utf-8")
    for damaged in (whole[:-9], "{}", "[]", whole.replace('"BPE"', '"BPE"', 1).replace('"merges"', '"marges"')):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(ValueError, match=r"tokenizer\.json"):
            load_tokenizer(saved)


def test_other_rules_than_gpts_are_refused(saved):
    (saved / "vocab.json").unlink()
    path = saved / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    for change in ({"pre_tokenizer": {"type": "Whitespace"}}, {"normalizer": {"type": "Lowercase"}}):
        path.write_text(json.dumps({**data, **change}), encoding="utf-8")
        with pytest.raises(ValueError, match="rules that are neither"):
            load_tokenizer(saved)


def test_damaged_vocabulary_and_merges_are_named(saved):
    vocabulary = json.loads((saved / "vocab.json").read_text(encoding="utf-8"))
    token = next(token for token, number in vocabulary.items() if number == 700)
    (saved / "vocab.json").write_text(json.dumps({**vocabulary, token: 701}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"vocab\.json is damaged"):
        load_tokenizer(saved)
    (saved / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = (saved / "merges.txt").read_text(encoding="utf-8")
    (saved / "merges.txt").write_text(merges + "one two three\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"merges\.txt, line \d+"):
        load_tokenizer(saved)
    (saved / "merges.txt").write_text(merges + "qqq zzz\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"vocab\.json.*do not fit"):
        load_tokenizer(saved)


def test_importing_it_loads_nothing_heavy():
    import subprocess
    import sys

    heavy = {"torch", "pyarrow", "spacy", "numpy", "tokenizers"}
    code = f"import sys, ensue.tokens.tokenizer; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
