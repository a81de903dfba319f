"""`ensue generate` in low precision: by the engine where the pass can be had, and what is said where not."""

import json
from pathlib import Path

import pytest
import torch

from ensue.core.native import INFERENCE, why_no_kernels
from ensue.generate.load import load
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.model.weights import save_model
from ensue.tokens.byte_level import train_byte_level

needs_kernels = pytest.mark.skipif(
    why_no_kernels(INFERENCE) is not None, reason=f"no packed kernels here: {why_no_kernels(INFERENCE)}"
)


def saved(folder: Path, width: int) -> Path:
    tokenizer = train_byte_level(iter(["The fox said to the crow: what a fine voice you have!"] * 9), vocab_size=290)
    model = GPT.build(gpt2(layers=2, width=width, heads=2, context=48, vocab=290), 0)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    folder.mkdir()
    save_model(model.eval(), folder, end_token=tokenizer.end)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("writing") / "model", 64)


@needs_kernels
@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_the_engine_writes(model: Path, dtype: str, ensue) -> None:
    options = ["--prompt", "The fox", "--max-new-tokens", 20, "--dtype", dtype]
    code, said = ensue("generate", model, *options)
    assert code == 0
    assert said.startswith("The fox")
    found = json.loads(ensue("generate", model, *options, "--json")[1])
    assert said == f"The fox{found['text']}\n"
    drawn = [*options, "--temperature", 0.9, "--top-p", 0.9]
    first, again, other = (ensue("generate", model, *drawn, "--seed", seed)[1] for seed in (1, 1, 2))
    assert first == again != other
    assert " " not in json.loads(ensue("generate", model, *options, "--stop", " ", "--json")[1])["text"]


@needs_kernels
def test_past_the_context(model: Path, ensue) -> None:
    options = ["generate", model, "--prompt", "The fox", "--max-new-tokens", 80, "--json"]
    expected = load(model).generate("The fox", max_new_tokens=80)
    assert json.loads(ensue(*options, "--dtype", "bf16")[1])["text"] == expected
    code, said = ensue(*options, "--dtype", "int8")
    assert code == 2
    assert "context of 48" in said
    assert ensue(*options, "--dtype", "int8", "--truncate")[0] == 2


@needs_kernels
def test_a_search_in_bf16_is_pytorchs(model: Path, ensue) -> None:
    options = ["generate", model, "--prompt", "The fox", "--max-new-tokens", 9, "--beams", 3, "--json"]
    expected = load(model, dtype="bf16").generate("The fox", max_new_tokens=9, beams=3)
    assert json.loads(ensue(*options, "--dtype", "bf16")[1])["text"] == expected


@needs_kernels
def test_what_int8_cannot_do(model: Path, tmp_path: Path, ensue) -> None:
    code, said = ensue("generate", model, "--beams", 3, "--dtype", "int8")
    assert code == 2
    assert "beam search runs in fp32" in said
    odd = saved(tmp_path / "odd", 48)
    code, said = ensue("generate", odd, "--dtype", "int8")
    assert code == 2
    assert "int8 is not to be had here" in said
    assert ensue("generate", odd, "--prompt", "The", "--max-new-tokens", 5, "--dtype", "bf16")[0] == 0
