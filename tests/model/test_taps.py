"""Taps: their names are public, what they show is what is computed, and what they return is what goes on."""

from dataclasses import replace

import pytest
import torch
import transformers

from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed
from ensue.model.presets import gpt, gpt2, gpt3, modern
from ensue.model.weights import save_model

SIZE = {"layers": 2, "width": 12, "heads": 3, "context": 10, "vocab": 11}
KINDS = {
    "gpt": gpt(**SIZE),
    "gpt2": gpt2(**SIZE),
    "gpt3": replace(gpt3(**SIZE), patterns=(Dense(), Banded(3))),
    "fixed": replace(gpt2(**SIZE), patterns=(Fixed(4, 2, spread=True),)),
    "modern": modern(**SIZE),
}
BLOCK = [
    "input",
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.scores",
    "attention.probabilities",
    "attention.mixed",
    "attention.output",
    "middle",
    "mlp.hidden",
    "mlp.output",
    "output",
]
NAMES = ["embedding", *(f"blocks.{layer}.{name}" for layer in range(2) for name in BLOCK), "final", "logits"]
"""Lenses, patches and recordings of other people are written against these: add, never rename."""

TOKENS = torch.randint(0, 11, (2, 10), generator=torch.Generator().manual_seed(0))


def built(name):
    config = replace(KINDS[name], init_std=0.3, position_std=0.3, residual_init="same")
    return GPT.build(config, seed=1).eval()


@torch.no_grad()
def record(model):
    seen = {}

    def keep(name, tensor):
        assert name not in seen
        seen[name] = tensor.clone()
        return tensor

    seen["returned"] = model(TOKENS, taps=keep)
    return seen


@torch.no_grad()
def with_tap(model, name, change):
    return model(TOKENS, taps=lambda shown, tensor: change(tensor) if shown == name else tensor)


@pytest.mark.parametrize("name", KINDS)
def test_names_in_order(name):
    seen = record(built(name))
    assert list(seen) == [*NAMES, "returned"]
    assert torch.equal(seen["logits"], seen["returned"])


def test_shapes():
    seen = record(built("gpt2"))
    heads, stream = (2, 3, 10, 4), (2, 10, 12)
    expected = {
        "embedding": stream, "input": stream, "query": heads, "key": heads, "value": heads, "mixed": heads,
        "scores": (2, 3, 10, 10), "probabilities": (2, 3, 10, 10), "middle": stream, "hidden": (2, 10, 48),
        "output": stream, "final": stream, "logits": (2, 10, 11),
    }  # fmt: skip
    for name in NAMES:
        assert seen[name].shape == expected[name.split(".")[-1]], name


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_looking_changes_nothing(name):
    model = built(name)
    plain = model(TOKENS)
    assert torch.equal(model(TOKENS), plain)
    torch.testing.assert_close(record(model)["returned"], plain, atol=1e-5, rtol=1e-5)
    model.double()
    torch.testing.assert_close(record(model)["returned"], model(TOKENS), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_probabilities_are_probabilities(name):
    seen = record(built(name))
    for layer in range(2):
        probabilities = seen[f"blocks.{layer}.attention.probabilities"]
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 3, 10))
        assert ((probabilities == 0) == torch.isinf(seen[f"blocks.{layer}.attention.scores"])).all()


@pytest.mark.parametrize("name", ["gpt2", "gpt3", "fixed", "modern"])
def test_the_residual_stream_adds_up(name):
    model = built(name)
    seen = record(model)
    stream = seen["embedding"]
    for layer in range(2):
        block = f"blocks.{layer}"
        assert torch.equal(seen[f"{block}.input"], stream)
        torch.testing.assert_close(seen[f"{block}.middle"], stream + seen[f"{block}.attention.output"])
        stream = stream + seen[f"{block}.attention.output"] + seen[f"{block}.mlp.output"]
        torch.testing.assert_close(seen[f"{block}.output"], stream)
    torch.testing.assert_close(seen["final"], model.final_norm(stream))


def test_post_norm_adds_up_inside_its_norms():
    model = built("gpt")
    seen = record(model)
    block = model.blocks[0]
    middle = block.attention_norm(seen["blocks.0.input"] + seen["blocks.0.attention.output"])
    torch.testing.assert_close(seen["blocks.0.middle"], middle)
    torch.testing.assert_close(seen["blocks.0.output"], block.mlp_norm(middle + seen["blocks.0.mlp.output"]))
    assert torch.equal(seen["final"], seen["blocks.1.output"])


@pytest.mark.parametrize("name", ["gpt", "gpt2", "modern"])
@torch.no_grad()
def test_they_show_what_transformers_shows(name, tmp_path):
    """Attention weights and the stream between the layers, from the same weights in transformers."""
    model = built(name)
    save_model(model, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    out = theirs(TOKENS, output_attentions=True, output_hidden_states=True)
    seen = record(model)
    for layer in range(2):
        found = seen[f"blocks.{layer}.attention.probabilities"]
        torch.testing.assert_close(found, out.attentions[layer], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(seen[f"blocks.{layer}.input"], out.hidden_states[layer], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen["final"], out.hidden_states[-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("part", ["attention", "mlp"])
@torch.no_grad()
def test_a_part_put_out_equals_weights_of_zero(name, part):
    model = built(name)
    tapped = with_tap(model, f"blocks.0.{part}.output", torch.zeros_like)
    assert (tapped - model(TOKENS)).abs().max() > 1e-3
    last = model.blocks[0].attention.out if part == "attention" else model.blocks[0].mlp.down
    for parameter in last.parameters():
        parameter.zero_()
    torch.testing.assert_close(tapped, model(TOKENS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("place", NAMES)
@torch.no_grad()
def test_every_tap_can_change_the_answer(place):
    model = built("gpt3")
    changed = with_tap(model, place, lambda tensor: tensor.flip(-1))
    assert (changed - model(TOKENS)).abs().max() > 1e-4


@torch.no_grad()
def test_one_head_put_out_by_hand():
    model = built("gpt2")
    tapped = with_tap(
        model, "blocks.1.attention.mixed", lambda mixed: mixed * torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1)
    )
    model.blocks[1].attention.out.weight[:, 4:8] = 0.0
    torch.testing.assert_close(tapped, model(TOKENS), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_patched_stream_answers_as_the_run_it_came_from():
    model = built("modern")
    other = (TOKENS + 3) % 11
    kept = {}
    expected = model(other, taps=lambda name, tensor: kept.setdefault(name, tensor))
    torch.testing.assert_close(with_tap(model, "blocks.1.input", lambda _: kept["blocks.1.input"]), expected)


def test_gradients_flow_through_taps():
    model = built("gpt2")
    kept = {}

    def keep(name, tensor):
        if tensor.requires_grad:
            tensor.retain_grad()
        return kept.setdefault(name, tensor)

    model(TOKENS, taps=keep).logsumexp(-1).sum().backward()
    assert all(kept[name].grad is not None for name in NAMES if name != "logits")
