"""Model folders against transformers itself, in both directions, and against themselves."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed, Strided, TwoWay
from ensue.model.presets import gpt, gpt2, gpt3, modern
from ensue.model.weights import load_config, load_model, save_model

VOCAB, CONTEXT = 101, 17
SIZE = {"layers": 3, "width": 36, "heads": 3, "context": CONTEXT, "vocab": VOCAB}
NEO = replace(gpt2(**SIZE), qkv_bias=False, attention_scale=1.0)
OURS = {
    "gpt": gpt(**SIZE),
    "gpt2": gpt2(**SIZE),
    "gpt2-unscaled-untied-narrow": replace(gpt2(**SIZE), attention_scale=1.0, tied=False, mlp_width=50),
    "gpt3-whose-band-holds-the-context": replace(gpt3(**SIZE), patterns=(Dense(), Banded(CONTEXT))),
    "gpt-untied": replace(gpt(**SIZE), tied=False),
    "neo-alternating-odd": replace(NEO, patterns=(Dense(), Banded(5))),
    "neo-alternating-even": replace(NEO, layers=4, patterns=(Banded(3), Dense()), mlp_width=77),
    "neo-dense": NEO,
    "neo-aperiodic-untied": replace(NEO, layers=5, patterns=(Dense(), Banded(2), Banded(2)), tied=False),
    "modern": replace(modern(**SIZE), rotary_base=321.0),
    "modern-untied": replace(modern(**SIZE), tied=False, attention_dropout=0.25, embedding_dropout=0.5),
}
KINDS = {"gpt": "openai-gpt", "gpt2": "gpt2", "gpt3": "gpt2", "neo": "gpt_neo", "modern": "qwen3"}


@torch.no_grad()
def perturbed(model, seed=0):
    """Every parameter moved, so that no bias is 0 and no gain 1, and a forgotten one shows."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return model.eval()


def tokens(rows=3, length=CONTEXT, vocab=VOCAB):
    return torch.randint(0, vocab, (rows, length), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def assert_same_logits(ours, theirs):
    for length in (1, 2, CONTEXT):
        expected = theirs(tokens(length=length)).logits
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(tokens(length=length)), expected, atol=1e-5, rtol=1e-5)


def their_configs():
    plain = {"vocab_size": VOCAB, "n_positions": CONTEXT, "n_embd": 36, "n_layer": 3, "n_head": 3}
    neo = {"vocab_size": VOCAB, "max_position_embeddings": CONTEXT, "hidden_size": 36, "num_heads": 3}
    qwen = {
        "vocab_size": VOCAB,
        "max_position_embeddings": CONTEXT,
        "hidden_size": 36,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "head_dim": 12,
        "intermediate_size": 52,
    }
    for attention in ("eager", "sdpa"):
        yield f"gpt2-{attention}", transformers.GPT2Config(**plain, attn_implementation=attention)
        yield f"qwen3-{attention}", transformers.Qwen3Config(**qwen, attn_implementation=attention)
    yield "gpt2-n_inner", transformers.GPT2Config(**plain, n_inner=53, layer_norm_epsilon=1e-3)
    yield "gpt2-unscaled", transformers.GPT2Config(**plain, scale_attn_weights=False)
    yield "gpt2-untied", transformers.GPT2Config(**plain, tie_word_embeddings=False)
    yield "qwen3-tied", transformers.Qwen3Config(**qwen, tie_word_embeddings=True, rms_norm_eps=1e-3)
    rope = {"rope_type": "default", "rope_theta": 77.0}
    yield "qwen3-theta", transformers.Qwen3Config(**qwen, rope_parameters=rope)
    yield "openai-gpt", transformers.OpenAIGPTConfig(**plain)
    yield "openai-gpt-epsilon", transformers.OpenAIGPTConfig(**plain, layer_norm_epsilon=1e-2)
    for kinds, times in ((["global", "local"], 2), (["local"], 3), (["global", "local", "global"], 1)):
        settings = {"attention_types": [[kinds, times]], "num_layers": len(kinds) * times, "window_size": 4}
        yield f"gpt_neo-{'-'.join(kinds)}-{times}", transformers.GPTNeoConfig(**neo, **settings)
    runs = [[["global"], 2], [["local", "global"], 1], [["local"], 1]]
    yield "gpt_neo-runs", transformers.GPTNeoConfig(**neo, attention_types=runs, num_layers=5, window_size=2)


THEIRS = dict(their_configs())


@pytest.mark.parametrize("name", THEIRS)
def test_theirs_here(name, tmp_path):
    theirs = perturbed(transformers.AutoModelForCausalLM.from_config(THEIRS[name]))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert not ours.training
    assert ours.config == load_config(tmp_path)
    assert_same_logits(ours, theirs)


@pytest.mark.parametrize("name", OURS)
def test_ours_there_and_back(name, tmp_path):
    ours = perturbed(GPT.build(OURS[name], seed=3))
    save_model(ours, tmp_path / "ours", end_token=7)
    record = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert record["model_type"] == KINDS[name.split("-")[0]]
    assert (record["eos_token_id"], record["dtype"]) == (7, "float32")
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    assert type(theirs).__name__ == record["architectures"][0]
    assert_same_logits(ours, theirs.eval())
    # What transformers writes of it in turn is ours again to the bit, with what only we record.
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs")
    assert again.config == OURS[name]
    assert_same_weights(again, ours)


def assert_same_weights(one, two):
    weights = dict(two.named_parameters())
    assert [name for name, _ in one.named_parameters()] == list(weights)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, weights[name]), name


@st.composite
def configs(draw):
    """Configs of every kind; some are an architecture of transformers and many are none."""
    heads = draw(st.integers(1, 3))
    base = GPTConfig(
        vocab=draw(st.integers(1, 20)),
        context=draw(st.integers(1, 9)),
        layers=draw(st.integers(1, 4)),
        heads=heads,
        width=heads * draw(st.sampled_from([2, 4])),
        mlp_width=draw(st.none() | st.integers(1, 9)),
        tied=draw(st.booleans()),
        embedding_dropout=draw(st.sampled_from([0.0, 0.1])),
        attention_dropout=draw(st.sampled_from([0.0, 0.2])),
        residual_dropout=draw(st.sampled_from([0.0, 0.3])),
        position_std=draw(st.sampled_from([0.01, 0.02])),
        norm_epsilon=draw(st.sampled_from([1e-5, 1e-6])),
        residual_init=draw(st.sampled_from(["same", "scaled", "zero"])),
        attention_scale=draw(st.sampled_from([None, 1.0, 0.3])),
        norm_place=draw(st.sampled_from(["pre", "post"])),
    )
    pattern = st.sampled_from(
        [Dense(), Banded(2), Banded(3), Strided(2), Strided(3, "first"), Fixed(4, 2, "second", True), TwoWay()]
    )
    if draw(st.booleans()):
        return replace(base, patterns=tuple(draw(st.lists(pattern, min_size=1, max_size=3))))
    parts = {
        "norm": st.sampled_from(["layer", "rms"]),
        "mlp": st.sampled_from(["gelu", "swiglu"]),
        "positions": st.sampled_from(["learned", "rotary"]),
        "bias": st.booleans(),
        "qkv_bias": st.booleans(),
        "qk_norm": st.booleans(),
    }
    return replace(base, **{name: draw(choice) for name, choice in parts.items()})


@settings(max_examples=40)
@given(configs(), st.sampled_from([torch.float32, torch.bfloat16]))
def test_every_config_comes_back_to_the_bit(tmp_path_factory, config, dtype):
    folder = tmp_path_factory.mktemp("model")
    model = perturbed(GPT.build(config, seed=1)).to(dtype)
    save_model(model, folder)
    again = load_model(folder)
    assert again.config == config
    assert all(parameter.dtype == torch.float32 for parameter in again.parameters())
    assert_same_weights(again.to(dtype), model)


@pytest.mark.parametrize("patterns", [(Dense(), Banded(4)), (Strided(4), Fixed(4, 2)), (TwoWay(),)])
def test_what_no_architecture_holds_is_marked_as_ours(patterns, tmp_path):
    config = replace(gpt3(**SIZE), patterns=patterns)
    save_model(GPT.build(config, seed=0), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "ensue"
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == {name for name, _ in GPT.build(config, seed=0).named_parameters()}


def test_bfloat16_is_kept_and_said(tmp_path):
    model = perturbed(GPT.build(OURS["gpt2"], seed=0)).to(torch.bfloat16)
    save_model(model, tmp_path)
    assert all(tensor.dtype == torch.bfloat16 for tensor in load_file(tmp_path / "model.safetensors").values())
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_sharded_folders(tmp_path):
    theirs = perturbed(transformers.AutoModelForCausalLM.from_config(THEIRS["gpt2-eager"]))
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 3
    assert_same_logits(load_model(tmp_path), theirs)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_weights_are_read_as_data(tmp_path, zipped):
    theirs = perturbed(transformers.AutoModelForCausalLM.from_config(THEIRS["openai-gpt"]))
    theirs.config.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    assert_same_logits(load_model(tmp_path), theirs)


@pytest.mark.parametrize("name", ["gpt2-eager", "gpt_neo-global-local-2", "openai-gpt", "qwen3-tied"])
def test_no_prefix_old_buffers_and_a_stored_copy_of_the_head(tmp_path, name):
    theirs = perturbed(transformers.AutoModelForCausalLM.from_config(THEIRS[name]))
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {key.removeprefix("transformer.").removeprefix("model."): value for key, value in load_file(path).items()}
    tensors["lm_head.weight"] = theirs.lm_head.weight.detach().clone()
    buffers = {
        "gpt2-eager": ["h.0.attn.bias", "h.2.attn.masked_bias"],
        "gpt_neo-global-local-2": ["h.0.attn.attention.bias", "h.1.attn.attention.masked_bias"],
        "openai-gpt": ["h.0.attn.bias", "position_ids"],
        "qwen3-tied": ["layers.0.self_attn.rotary_emb.inv_freq"],
    }
    save_file(tensors | {buffer: torch.ones(1) for buffer in buffers[name]}, path)
    assert_same_logits(load_model(tmp_path), theirs)


def test_what_transformers_changed_wins_over_our_record(tmp_path):
    save_model(perturbed(GPT.build(OURS["gpt"], seed=3)), tmp_path / "ours")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    theirs.resize_token_embeddings(VOCAB + 3)
    theirs.config.attn_pdrop = 0.4
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs")
    assert again.config == replace(OURS["gpt"], vocab=VOCAB + 3, attention_dropout=0.4)
    assert_same_logits(again, theirs.eval())


def test_older_rotary_keys(tmp_path):
    save_model(perturbed(GPT.build(OURS["modern"], seed=3)), tmp_path)
    record = json.loads((tmp_path / "config.json").read_text())
    del record["rope_parameters"], record["ensue"]
    (tmp_path / "config.json").write_text(json.dumps(record | {"rope_scaling": None}))
    assert load_config(tmp_path).rotary_base == 321.0


def test_the_config_needs_no_torch(tmp_path):
    save_model(GPT.build(OURS["neo-dense"], seed=0), tmp_path)
    code = (
        "import sys; from pathlib import Path; from ensue.model.weights import load_config;"
        "print(load_config(Path(sys.argv[1])).parameters); assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == OURS["neo-dense"].parameters
