"""Folders that are no model: each gets an error that names the file, and none gets a model that is wrong."""

import json
import pickle
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ensue.model.gpt import GPT
from ensue.model.presets import gpt2, gpt3, modern
from ensue.model.weights import load_config, load_model, save_model

SIZE = {"layers": 2, "width": 12, "heads": 3, "context": 7, "vocab": 11}


@pytest.fixture
def folder(tmp_path):
    save_model(GPT.build(gpt2(**SIZE), seed=0), tmp_path)
    return tmp_path


def edit_config(folder, **changes):
    path = folder / "config.json"
    record = json.loads(path.read_text())
    record.update(changes)
    path.write_text(json.dumps({key: value for key, value in record.items() if value != "delete"}))


def edit_tensors(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def test_missing_files(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"nowhere.config\.json does not exist"):
        load_model(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no weights.*model\.safetensors"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1]", b"null"])
def test_config_that_is_no_json_object(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        load_config(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "gpt3"},
            r"model_type 'gpt3'; it loads gpt2, openai-gpt, gpt_neo, qwen3, ensue\. The nearest is 'gpt",
        ),
        ({"model_type": "bert"}, r"model_type 'bert'; it loads gpt2"),
        ({"model_type": "delete"}, "model_type None"),
        ({"n_layer": "2"}, "n_layer: expected int, got '2'"),
        ({"activation_function": "relu"}, "'relu' is not one of 'gelu_new'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"n_head": 5}, "width 12 cannot be shared by 5 heads"),
        ({"ensue": {"kind": "GPTConfig", "contxt": 7}}, "did you mean 'context'"),
        ({"ensue": 3}, "expected the fields of GPTConfig"),
        ({"model_type": "ensue", "ensue": "delete"}, 'under the key "ensue"'),
    ],
)
def test_config_that_describes_no_model_we_have(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_model(folder)
    assert str(folder / "config.json") in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_key_value_heads": 1}, "grouped-query"),
        ({"head_dim": 8}, "head_dim 8 do not make hidden_size 12"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "'yarn' is not one of 'default'"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"attention_bias": True}, "attention_bias"),
    ],
)
def test_kinds_of_qwen3_we_do_not_have(tmp_path, changes, message):
    save_model(GPT.build(modern(**SIZE), seed=0), tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load_config(tmp_path)


@pytest.mark.parametrize("types", [[[["global", "local"], 3]], [[["global", "far"], 1]]])
def test_layers_of_gpt_neo_that_do_not_add_up(tmp_path, types):
    save_model(GPT.build(replace(gpt2(**SIZE), qkv_bias=False, attention_scale=1.0), seed=0), tmp_path)
    edit_config(tmp_path, attention_types=types)
    with pytest.raises(ValueError, match="attention_types"):
        load_config(tmp_path)


@settings(max_examples=25)
@given(share=st.floats(0, 0.9999))
def test_truncated_weights(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("model")
    save_model(GPT.build(gpt2(**SIZE), seed=0), folder)
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"model\.safetensors is truncated or damaged"):
        load_model(folder)


@settings(max_examples=30)
@given(data=st.data())
def test_a_flipped_bit_in_the_header_is_an_error_or_harmless(tmp_path_factory, data):
    """Names, types, shapes and places are in the header; a flip may hit a space or its metadata, which say nothing."""
    folder = tmp_path_factory.mktemp("model")
    model = GPT.build(gpt2(**SIZE), seed=0)
    save_model(model, folder)
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    content[data.draw(st.integers(0, header - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        again = load_model(folder)
    except ValueError as error:
        assert "model.safetensors" in str(error) or str(folder) in str(error)  # noqa: PT017
    else:
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_tensors_that_do_not_belong(folder):
    edit_tensors(folder, lambda tensors: tensors.pop("transformer.h.1.ln_2.bias"))
    with pytest.raises(ValueError, match=r"'transformer\.h\.1\.ln_2\.bias' is missing from .*model\.safetensors;"):
        load_model(folder)


def test_a_tensor_too_many(folder):
    edit_tensors(folder, lambda tensors: tensors.update({"transformer.h.2.ln_1.weight": torch.ones(12)}))
    with pytest.raises(ValueError, match=r"model\.safetensors holds the tensor 'h\.2\.ln_1\.weight' of shape \[12\]"):
        load_model(folder)


def test_a_tensor_of_another_shape(folder):
    edit_tensors(folder, lambda tensors: tensors.update({"transformer.h.0.attn.c_attn.weight": torch.ones(36, 12)}))
    message = r"model\.safetensors: .*c_attn\.weight' has the shape \[36, 12\], but config\.json makes it \[12, 36\]"
    with pytest.raises(ValueError, match=message):
        load_model(folder)


def test_a_head_that_was_trained_apart(folder):
    edit_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": torch.ones(11, 12)}))
    with pytest.raises(ValueError, match="tie_word_embeddings"):
        load_model(folder)
    edit_config(folder, tie_word_embeddings=False)
    model = load_model(folder)
    assert not model.config.tied
    assert torch.equal(model.head_weight, torch.ones(11, 12))


def test_the_weights_of_another_model(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    save_model(GPT.build(gpt3(**SIZE), seed=0), other)
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    edit_config(folder, n_embd=24)
    with pytest.raises(ValueError, match="shape"):
        load_model(folder)


def test_index_that_names_what_is_not_there(folder):
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"wte.weight": "../elsewhere.safetensors"}}))
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        load_model(folder)
    index.write_text("{}")
    with pytest.raises(ValueError, match=r"index\.json is not an index"):
        load_model(folder)


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps({"wte.weight": Harmful()}, protocol=2)])
def test_pickled_files_run_nothing(folder, content, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is damaged, or holds more than tensors"):
        load_model(folder)
    torch.save({"wte.weight": Harmful()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is damaged, or holds more than tensors"):
        load_model(folder)
    assert not (folder / "ran").exists()


def test_a_disk_that_is_full_is_an_os_error(tmp_path):
    """A limit on the size of a file stands in for the full disk; both end in the same failed write."""
    model = GPT.build(gpt2(**{**SIZE, "vocab": 100_000}), seed=0)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, usual[1]))
    try:
        with pytest.raises(OSError, match="writing failed") as caught:
            save_model(model, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert caught.value.filename == str(tmp_path / "model.safetensors")
