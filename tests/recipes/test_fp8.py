"""Products of the blocks in fp8, emulated on a CPU: near the plain ones, in the blocks only, the same checkpoints."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2, modern
from ensue.model.weights import load_model
from ensue.model.weights.huggingface import save_model
from ensue.recipes.data import Data
from ensue.recipes.fp8 import check_fp8, check_shape_for_fp8, multiply_in_fp8
from ensue.recipes.papers import train_gpt2
from ensue.recipes.run_config import RunConfig
from ensue.train.parallel import ParallelConfig

SHAPE = {"layers": 2, "width": 64, "heads": 2, "context": 32, "vocab": 300}
MODELS = [gpt2(**SHAPE), replace(modern(**SHAPE), tied=False, residual_init="scaled")]
CPU = torch.device("cpu")


def both(config: GPTConfig) -> tuple[GPT, GPT]:
    """The same model twice, one of them in fp8."""
    pytest.importorskip("torchao", reason="torchao is not installed: pip install 'ensue[fp8]'")
    plain, rounded = GPT.build(config, 0), GPT.build(config, 0)
    multiply_in_fp8(rounded.blocks, emulate=True)
    return plain, rounded


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).detach().norm() / wanted.detach().norm())


@pytest.mark.parametrize("config", MODELS, ids=["gpt2", "modern"])
def test_logits_and_gradients_are_close_but_rounded(config: GPTConfig) -> None:
    """E4M3 has 3 bits behind the point, E5M2 two: a rounded value is off by up to 1/16 and 1/8, and sums by less."""
    plain, rounded = both(config)
    tokens = torch.randint(0, config.vocab, (2, 33), generator=torch.Generator().manual_seed(0))
    for model in (plain, rounded):
        F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
    assert 1e-3 < error(rounded(tokens[:, :-1]), plain(tokens[:, :-1])) < 0.06
    gradients = {name: parameter.grad for name, parameter in rounded.named_parameters()}
    for name, parameter in plain.named_parameters():
        found, wanted = gradients[name], parameter.grad
        assert found is not None
        assert wanted is not None
        assert found.dtype == torch.float32
        assert error(found, wanted) < 0.15, name


def test_every_matrix_of_the_blocks_and_nothing_else() -> None:
    plain, rounded = both(MODELS[1])
    kinds = {name: type(module).__name__ for name, module in rounded.named_modules() if hasattr(module, "weight")}
    inside = {name: kind for name, kind in kinds.items() if kind == "Float8Linear"}
    assert set(inside) == {
        name
        for name, module in plain.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith("blocks.")
    }
    assert (kinds["head"], kinds["token_embedding"]) == ("Linear", "Embedding")


def test_weights_under_an_input_in_bf16_stay_fp32() -> None:
    """As under autocast on a GPU."""
    _, rounded = both(MODELS[0])
    layer = rounded.blocks[0].get_submodule("mlp.up")
    out = layer(torch.randn(32, 64, dtype=torch.bfloat16))
    out.float().square().sum().backward()
    weight = layer.get_parameter("weight")
    assert weight.grad is not None
    assert (out.dtype, weight.dtype, weight.grad.dtype) == (torch.bfloat16, torch.float32, torch.float32)


def test_parameters_and_checkpoints_are_the_plain_ones(tmp_path: Path) -> None:
    config = MODELS[0]
    model = GPT.build(config, 0)
    before = dict(model.named_parameters())
    pytest.importorskip("torchao", reason="torchao is not installed: pip install 'ensue[fp8]'")
    multiply_in_fp8(model.blocks, emulate=True)
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is parameter for name, parameter in before.items())
    assert list(model.state_dict()) == list(GPT.build(config, 0).state_dict())
    save_model(model, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert type(loaded.blocks[0].get_submodule("mlp.up")) is torch.nn.Linear
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, before[name])


def config_of(model: GPTConfig = MODELS[0], **changes: object) -> RunConfig:
    return replace(train_gpt2(model, 1000, 10), fp8=True, **changes)  # type: ignore[arg-type]


def test_where_it_cannot_be_had(data: Data, tmp_path: Path, ensue: Callable[..., tuple[int, str]]) -> None:
    code, said = ensue("train", data.path, "--run", tmp_path / "run", "--steps", 2, "--fp8", "true", "--device", "cpu")
    assert code == 2
    assert "--fp8 true is for GPUs, and this run is on cpu. Type --fp8 false" in said
    assert not (tmp_path / "run").exists()
    check_fp8(replace(config_of(), fp8=False), CPU)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (config_of(parallel=ParallelConfig(tensor=2)), "type --parallel.tensor 1"),
        (config_of(gpt2(**{**SHAPE, "width": 40})), "the width is 40; use 48"),
        (config_of(gpt2(**{**SHAPE, "context": 20})), "the context is 20; use 32"),
    ],
)
def test_shapes_that_it_does_not_take(config: RunConfig, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_shape_for_fp8(config)
