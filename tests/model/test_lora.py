"""LoRA: the merged model computes the same, gradients are right, frozen weights stay, and `peft` agrees."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ensue.core.device import autocast
from ensue.core.native import usable_kernels
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.lora import TARGETS, LoRA, adapt, merged, take_trained, trained
from ensue.model.presets import gpt, gpt2, modern
from ensue.model.weights import save_model

SIZE = {"layers": 2, "width": 32, "heads": 2, "context": 16, "vocab": 40}
PLACES = {
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "mlp.up": "mlp.c_fc",
    "mlp.down": "mlp.c_proj",
}
"""Where `transformers` has each matrix."""

CONFIGS = {
    "gpt": gpt(**SIZE),
    "gpt2": gpt2(**SIZE),
    "modern": modern(**SIZE),
    "untied": replace(gpt2(**SIZE), tied=False),
}


def adapted_model(
    config: GPTConfig, *, new_tokens: int = 0, targets: tuple[str, ...] = TARGETS, double: bool = False
) -> tuple[GPT, GPT]:
    """A model with an adapter that changes what it computes, and the model as it was."""
    model = GPT.build(config, seed=1).eval()
    plain = copy.deepcopy(model)
    if double:
        model, plain = model.double(), plain.double()
    adapt(model, LoRA(rank=3, alpha=6, targets=targets), seed=2, new_tokens=new_tokens)  # type: ignore[arg-type]
    return model, plain


def stir(model: nn.Module) -> None:
    with torch.no_grad():
        for number, parameter in enumerate(trained(model).values()):
            generator = torch.Generator().manual_seed(number)
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter), alpha=0.1)


def nats(model: GPT, tokens: Tensor) -> Tensor:
    logits = model(tokens[:, :-1])
    return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(0, 40, (3, 12), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("new_tokens", [0, 3])
def test_the_merged_model_computes_the_same(name: str, new_tokens: int, tokens: Tensor) -> None:
    model, plain = adapted_model(CONFIGS[name], new_tokens=new_tokens)
    assert torch.equal(model(tokens), plain(tokens))  # B is 0
    stir(model)
    assert (model(tokens) - plain(tokens)).abs().max() > 0.05
    whole = merged(model)
    assert torch.allclose(model(tokens), whole(tokens), atol=1e-5)
    assert [name for name, _ in whole.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert all(type(parameter) is nn.Parameter for parameter in whole.parameters())


@pytest.mark.parametrize("name", ["gpt2", "modern"])
def test_fused_products_have_the_adapter_too(name: str, tokens: Tensor) -> None:
    config = {"gpt2": gpt2, "modern": modern}[name](**{**SIZE, "width": 64})
    model, plain = adapted_model(config)
    stir(model)
    with autocast(torch.device("cpu"), "bf16"):
        if usable_kernels(torch.device("cpu")) is None:
            pytest.skip("this machine has no kernels for bf16")
        rough, old = model(tokens).float(), plain(tokens).float()
        loss = nats(model, tokens)
    exact = model(tokens)
    assert (rough - exact).abs().max() < 0.1 * (old - exact).abs().max()
    loss.backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.zero_grad()
    nats(model, tokens).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert (found[name] - parameter.grad).norm() < 0.1 * parameter.grad.norm() + 1e-4, name


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_finite_differences(name: str, tokens: Tensor) -> None:
    model, _ = adapted_model(CONFIGS[name], new_tokens=3, double=True)
    stir(model)
    tokens[0, 3:6] = torch.tensor([37, 38, 39])
    nats(model, tokens).backward()
    draw = torch.Generator().manual_seed(4)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None
            continue
        assert parameter.grad is not None
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        losses = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(direction, alpha=step)
                losses.append(float(nats(model, tokens)))
                parameter.add_(direction, alpha=-step)
        slope = (losses[0] - losses[1]) / 2e-5
        assert float((parameter.grad * direction).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-9), name


def test_what_is_frozen_does_not_change_by_a_bit(tokens: Tensor) -> None:
    model, plain = adapted_model(CONFIGS["gpt2"], new_tokens=3)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        nats(model, tokens).backward()
        optimizer.step()
    before = dict(plain.named_parameters())
    for name, parameter in merged(model).named_parameters():
        old, matrix = before[name], name.startswith("blocks") and parameter.dim() == 2
        if name == "token_embedding.weight":
            assert torch.equal(parameter[:-3], old[:-3])
            assert not (parameter[-3:] == old[-3:]).any()
        else:
            assert torch.equal(parameter, old) == (not matrix), name
    for name, parameter in model.named_parameters():
        if name in before and not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
    count = 2 * 3 * ((32 + 96) + (32 + 32) + 2 * (32 + 128)) + 3 * 32
    assert sum(parameter.numel() for parameter in trained(model).values()) == count


def test_targets_and_taking_up(tokens: Tensor) -> None:
    model, plain = adapted_model(CONFIGS["modern"], targets=("up",))
    assert set(trained(model)) == {f"blocks.{n}.mlp.gate_up.{part}" for n in (0, 1) for part in ("narrow", "wide")}
    stir(model)
    other = copy.deepcopy(plain)
    adapt(other, LoRA(rank=3, alpha=6, targets=("up",)), seed=9)
    take_trained(other, {name: tensor.clone() for name, tensor in trained(model).items()})
    assert torch.equal(other(tokens), model(tokens))
    with pytest.raises(ValueError, match=r"blocks\.0\.mlp\.gate_up\.narrow is not there, and should be \(3, 32\)"):
        take_trained(other, {})
    for wrong in ({"rank": 0}, {"alpha": 0.0}, {"targets": ()}):
        with pytest.raises(ValueError, match="--lora"):
            LoRA(**wrong)


def test_peft_computes_the_same(tokens: Tensor, tmp_path: object) -> None:
    """Hugging Face's own adapter with these A and B, beside the same weights in `transformers`."""
    peft = pytest.importorskip("peft")
    from transformers import GPT2LMHeadModel

    model, plain = adapted_model(CONFIGS["gpt2"])
    stir(model)
    save_model(plain, tmp_path)  # type: ignore[arg-type]
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=list(PLACES.values()), fan_in_fan_out=True)
    theirs = peft.get_peft_model(GPT2LMHeadModel.from_pretrained(tmp_path), config).eval()
    parameters = dict(theirs.named_parameters())
    ours = trained(model)
    for layer in (0, 1):
        for here, there in PLACES.items():
            for part, which in (("narrow", "lora_A"), ("wide", "lora_B")):
                place = f"base_model.model.transformer.h.{layer}.{there}.{which}.default.weight"
                with torch.no_grad():
                    parameters[place].copy_(ours[f"blocks.{layer}.{here}.{part}"])
    assert torch.allclose(theirs(tokens).logits, model(tokens), atol=1e-5)
    loss = theirs(tokens, labels=tokens).loss
    loss.backward()
    nats(model, tokens).backward()
    for layer in (0, 1):
        for here, there in PLACES.items():
            for part, which in (("narrow", "lora_A"), ("wide", "lora_B")):
                place = f"base_model.model.transformer.h.{layer}.{there}.{which}.default.weight"
                mine = model.get_parameter(f"blocks.{layer}.{here}.{part}").grad
                assert torch.allclose(parameters[place].grad, mine, atol=1e-5)
    count = sum(parameter.numel() for parameter in theirs.parameters() if parameter.requires_grad)
    assert count == sum(tensor.numel() for tensor in ours.values())
