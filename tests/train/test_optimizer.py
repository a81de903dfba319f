"""AdamW is the textbook's and the papers', Muon has the blocks' matrices, and the state has the parameters' names."""

import math

import pytest
import torch
from torch import nn

from ensue.model.gpt import GPT
from ensue.model.presets import gpt, modern
from ensue.train.optimizer import Optimizer, OptimizerConfig

MODEL = gpt(layers=2, width=16, heads=2, context=8, vocab=13)


def small_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double()


def draw_gradients(model, step):
    for index, parameter in enumerate(model.parameters()):
        generator = torch.Generator().manual_seed(1000 * step + index)
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)


def test_adamw_is_the_textbooks():
    """Loshchilov and Hutter (2019), algorithm 2, written out; the schedule multiplies both parts."""
    lr, beta1, beta2, epsilon, decay = 0.1, 0.9, 0.95, 1e-8, 0.1
    model = small_model()
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    means = [torch.zeros_like(tensor) for tensor in expected]
    squares = [torch.zeros_like(tensor) for tensor in expected]
    config = OptimizerConfig(lr=lr, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=decay)
    optimizer = Optimizer(model, config)
    for step in range(1, 8):
        factor = 1 / step
        draw_gradients(model, step)
        optimizer.set_factor(factor)
        optimizer.step()
        for index, parameter in enumerate(model.parameters()):
            gradient = parameter.grad
            means[index] = beta1 * means[index] + (1 - beta1) * gradient
            squares[index] = beta2 * squares[index] + (1 - beta2) * gradient**2
            mean, square = means[index] / (1 - beta1**step), squares[index] / (1 - beta2**step)
            own_decay = decay if parameter.dim() > 1 else 0.0
            old = expected[index]
            expected[index] = old - factor * lr * (mean / (square.sqrt() + epsilon) + own_decay * old)
            torch.testing.assert_close(parameter.detach(), expected[index], rtol=1e-12, atol=1e-14)


def test_without_decay_it_is_the_update_of_gpts_released_code():
    """Facts 1.4: p -= lr_t m / (sqrt(v) + eps), lr_t = lr sqrt(1 - b2^t) / (1 - b1^t); the two differ by eps alone."""
    lr, beta1, beta2 = 6.25e-5, 0.9, 0.999
    model = small_model()
    config = OptimizerConfig(lr=lr, beta1=beta1, beta2=beta2, epsilon=1e-300, weight_decay=0.0)
    optimizer = Optimizer(model, config)
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    m, v = ([torch.zeros_like(tensor) for tensor in expected] for _ in range(2))
    for step in range(1, 6):
        draw_gradients(model, step)
        optimizer.step()
        lr_t = lr * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        for index, parameter in enumerate(model.parameters()):
            m[index] = beta1 * m[index] + (1 - beta1) * parameter.grad
            v[index] = beta2 * v[index] + (1 - beta2) * parameter.grad**2
            expected[index] = expected[index] - lr_t * m[index] / v[index].sqrt()
            torch.testing.assert_close(parameter.detach(), expected[index], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_decay_is_decoupled_and_spares_biases_and_gains(kind):
    """GPT (2018), 4.1: on all weights that are no bias and no gain; embeddings and positions are weights."""
    model = GPT.build(MODEL, seed=0)
    config = OptimizerConfig(kind=kind, lr=0.5, weight_decay=0.01, muon_lr=0.25, muon_weight_decay=0.03)
    optimizer = Optimizer(model, config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.set_factor(0.5)
    optimizer.step()
    seen = set()
    for name, parameter in model.named_parameters():
        spared = name.endswith("bias") or "norm" in name
        factor = 1.0 if spared else 1 - 0.5 * 0.5 * 0.01
        if kind == "muon" and not spared and name.startswith("blocks."):
            factor = 1 - 0.5 * 0.25 * 0.03
        torch.testing.assert_close(parameter.detach(), before[name] * factor, rtol=1e-6, atol=0)
        seen.add(factor)
    assert len(seen) == (2 if kind == "adamw" else 3)


def test_muon_has_the_blocks_matrices_and_adamw_the_rest():
    model = GPT.build(modern(layers=2, width=16, heads=2, context=8, vocab=13), seed=0)
    trained = Optimizer(model, OptimizerConfig(kind="muon")).trained()
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    with_muon = {name for name, what in trained.items() if what.startswith("Muon")}
    expected = {
        f"blocks.{n}.{part}.weight"
        for n in (0, 1)
        for part in ("attention.qkv", "attention.out", "mlp.gate_up", "mlp.down")
    }
    assert with_muon == expected
    assert trained == {name: f"{'Muon' if name in expected else 'AdamW'} {shape}" for name, shape in shapes.items()}


def test_each_group_keeps_its_own_full_rate():
    optimizer = Optimizer(GPT.build(MODEL, seed=0), OptimizerConfig(kind="muon", lr=0.4, muon_lr=0.08))
    for factor in (0.5, 0.25, 1.0):
        optimizer.set_factor(factor)
        rates = [{group["lr"] for group in part.param_groups} for part in optimizer.parts]
        assert rates == [{0.4 * factor}, {0.08 * factor}]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_state_comes_back_by_name_to_the_bit(kind):
    config = OptimizerConfig(kind=kind)
    one = GPT.build(MODEL, seed=0)
    first = Optimizer(one, config)
    for step in range(3):
        draw_gradients(one, step)
        first.step()
    other = GPT.build(MODEL, seed=1)
    other.load_state_dict(one.state_dict())
    second = Optimizer(other, config)
    saved = first.tensors()
    names = {name for name, _ in one.named_parameters()}
    assert {name.rpartition("/")[0] for name in saved} == names
    second.load_tensors(saved)
    assert saved.keys() == second.tensors().keys()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in second.tensors().items())
    for model, optimizer in ((one, first), (other, second)):
        draw_gradients(model, 9)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(tensor, first.tensors()[name]) for name, tensor in second.tensors().items())


def test_another_models_state_is_refused():
    optimizer = Optimizer(GPT.build(MODEL, seed=0), OptimizerConfig())
    with pytest.raises(ValueError, match=r"names a parameter this model does not train: blocks\.7"):
        optimizer.load_tensors({"blocks.7.mlp.up.weight/exp_avg": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"mlp.up.weight/exp_avg has shape \(3,\), not \(64, 16\)"):
        optimizer.load_tensors({"blocks.0.mlp.up.weight/exp_avg": torch.zeros(3)})


def test_frozen_parameters_are_left_out_and_a_frozen_model_is_refused():
    model = GPT.build(MODEL, seed=0)
    model.token_embedding.requires_grad_(False)
    optimizer = Optimizer(model, OptimizerConfig())
    assert "token_embedding.weight" not in optimizer.trained()
    with pytest.raises(ValueError, match="no parameter to train"):
        Optimizer(model.requires_grad_(False), OptimizerConfig())
