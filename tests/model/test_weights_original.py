"""The original GPT release's layout, written here by hand as its code describes, against transformers' GPT."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from ensue.model.gpt import GPT
from ensue.model.presets import gpt, gpt2
from ensue.model.weights.original_gpt import is_original_gpt, load_original_gpt, save_original_gpt

VOCAB, CONTEXT, LAYERS = 101, 17, 3


def release(folder, width, seed=0):
    """Ten files of one run of random numbers, split anywhere, and the shapes in the release's order."""
    random = np.random.default_rng(seed)
    block = [
        *([1, width, 3 * width], [3 * width], [1, width, width], [width], [width], [width]),
        *([1, width, 4 * width], [4 * width], [1, 4 * width, width], [width], [width], [width]),
    ]
    shapes = [[CONTEXT, width], [VOCAB, width], *block * LAYERS]
    arrays = [random.normal(0, 0.2, shape).astype(np.float32) for shape in shapes]
    flat = np.concatenate([array.ravel() for array in arrays])
    cuts = np.sort(random.integers(0, flat.size, 9))
    for number, piece in enumerate(np.split(flat, cuts)):
        np.save(folder / f"params_{number}.npy", piece)
    (folder / "params_shapes.json").write_text(json.dumps(shapes))
    return arrays


@torch.no_grad()
def transformers_gpt(arrays, width, heads):
    """transformers' GPT with the same numbers: its matrices are (in, out) too, without the leading 1."""
    config = transformers.OpenAIGPTConfig(
        vocab_size=VOCAB, n_positions=CONTEXT, n_embd=width, n_layer=LAYERS, n_head=heads
    )
    model = transformers.OpenAIGPTLMHeadModel(config).eval()
    inner = model.transformer
    targets = [inner.positions_embed.weight, inner.tokens_embed.weight]
    for block in inner.h:
        for module in (block.attn.c_attn, block.attn.c_proj, block.ln_1, block.mlp.c_fc, block.mlp.c_proj, block.ln_2):
            targets += [module.weight, module.bias]
    for target, array in zip(targets, arrays, strict=True):
        target.copy_(torch.from_numpy(array[0] if array.ndim == 3 else array))
    return model


@torch.no_grad()
def assert_same_logits(ours, theirs):
    tokens = torch.randint(0, VOCAB, (3, CONTEXT), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("width", "heads", "said"), [(36, 3, 3), (128, 2, None)])
def test_the_release_equals_transformers(tmp_path, width, heads, said):
    assert not is_original_gpt(tmp_path)
    arrays = release(tmp_path, width)
    assert is_original_gpt(tmp_path)
    ours = load_original_gpt(tmp_path, heads=said)
    assert ours.config == gpt(layers=LAYERS, width=width, heads=heads, context=CONTEXT, vocab=VOCAB)
    assert_same_logits(ours, transformers_gpt(arrays, width, heads))


def test_there_and_back_to_the_bit(tmp_path):
    config = replace(gpt(layers=LAYERS, width=36, heads=3, context=CONTEXT, vocab=VOCAB), attention_dropout=0.25)
    model = GPT.build(config, seed=4)
    save_original_gpt(model, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.npy")) == [f"params_{number}.npy" for number in range(10)]
    again = load_original_gpt(tmp_path)
    assert again.config == config
    for (name, one), two in zip(again.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(one, two), name
    # Read by hand, as the release's own code does.
    shapes = json.loads((tmp_path / "params_shapes.json").read_text())
    flat = np.concatenate([np.load(tmp_path / f"params_{number}.npy") for number in range(10)])
    pieces = np.split(flat, np.cumsum([np.prod(shape) for shape in shapes]))[:-1]
    arrays = [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
    assert len(arrays) == 2 + 12 * LAYERS
    assert_same_logits(again, transformers_gpt(arrays, 36, 3))


def test_only_gpt_fits(tmp_path):
    small = {"layers": 1, "width": 8, "heads": 2, "context": 4, "vocab": 5}
    for config in (gpt2(**small), replace(gpt(**small), tied=False)):
        with pytest.raises(ValueError, match="only the GPT of 2018"):
            save_original_gpt(GPT.build(config, seed=0), tmp_path)


def test_damage_is_named(tmp_path):
    release(tmp_path, 64)
    path = tmp_path / "params_9.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-400])
    with pytest.raises(ValueError, match=r"params_9\.npy is truncated"):
        load_original_gpt(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"numbers, but params_shapes\.json needs"):
        load_original_gpt(tmp_path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"params_9\.npy"):
        load_original_gpt(tmp_path)


def test_shapes_that_are_no_gpt(tmp_path):
    release(tmp_path, 36)
    with pytest.raises(ValueError, match="heads=N"):
        load_original_gpt(tmp_path)
    path = tmp_path / "params_shapes.json"
    shapes = json.loads(path.read_text())
    path.write_text(json.dumps(shapes[:-1]))
    with pytest.raises(ValueError, match=r"params_shapes\.json lists 37 shapes"):
        load_original_gpt(tmp_path, heads=3)
    shapes[3], shapes[4] = shapes[4], shapes[3]
    path.write_text(json.dumps(shapes))
    with pytest.raises(ValueError, match=r"blocks\.0\.attention\.qkv\.bias has the shape"):
        load_original_gpt(tmp_path, heads=3)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"params_shapes\.json"):
        load_original_gpt(tmp_path, heads=3)
