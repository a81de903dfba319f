"""A fingerprint of the weights that names the tensor that differs, and norms by layer against plain sums."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.train.fingerprint import SAMPLE, fingerprint, first_difference
from ensue.train.norms import LayerNorms


def weights(dtype=torch.float32):
    torch.manual_seed(0)
    shapes = {"a": (300, 50), "b": (7,), "c": (2 * SAMPLE - 1,), "d": (2 * SAMPLE,), "e": (64, 3, 11), "f": (1,)}
    return {name: torch.randn(shape).to(dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_equal_weights_have_equal_fingerprints_and_the_first_that_differs_is_named(dtype):
    one, other = weights(dtype), weights(dtype)
    for step in (1, 2, 10**6):
        assert fingerprint(one, step) == fingerprint(other, step)
        assert first_difference(list(one), fingerprint(one, step), fingerprint(other, step)) is None
    for name in ("e", "d", "b"):
        other[name] = torch.nextafter(other[name].float(), torch.tensor(math.inf)).to(dtype) + 0.01
        assert first_difference(list(one), fingerprint(one, 5), fingerprint(other, 5)) == name


@settings(max_examples=50)
@given(st.data())
def test_one_bit_anywhere_is_seen_within_as_many_steps_as_a_tensor_has_places(data):
    one, other = weights(), weights()
    name = data.draw(st.sampled_from(sorted(one)))
    bits = other[name].view(torch.int32).view(-1)
    bits[data.draw(st.integers(0, len(bits) - 1))] ^= 1 << data.draw(st.integers(0, 30))
    places = -(-len(bits) // SAMPLE)
    found = [first_difference(list(one), fingerprint(one, s), fingerprint(other, s)) for s in range(1, places + 1)]
    assert found.count(name) == 1
    assert found.count(None) == places - 1


def test_values_that_change_places_change_the_fingerprint():
    one = {"a": torch.tensor([1.0, 2.0, 3.0])}
    assert fingerprint(one, 1) != fingerprint({"a": torch.tensor([2.0, 1.0, 3.0])}, 1)
    assert fingerprint({"a": torch.tensor([0.0])}, 1) != fingerprint({"a": torch.tensor([-0.0])}, 1), "bits, not values"


def test_it_reads_no_more_of_a_tensor_than_its_sample():
    """Of a million million values, one number in memory, which nobody could read in a day."""
    held = {"large": torch.tensor(3.0).expand(10**12)}
    assert len({fingerprint(held, step) for step in range(5)}) == 1


def test_norms_by_layer_are_those_of_gradient_and_update(make_engine):
    engine = make_engine(clip=0.5)
    norms = LayerNorms(engine.model, every=3)
    assert [step for step in range(1, 10) if norms.due(step)] == [3, 6, 9]
    assert not any(LayerNorms(engine.model, every=0).due(step) for step in range(1, 10))
    for index in range(2):
        engine.step(index)
    before = {name: parameter.detach().clone() for name, parameter in engine.model.named_parameters()}

    def judge(index, loss, grad_norm):
        norms.before_update()

    engine.judge = judge
    step = engine.step(2)
    assert step.grad_norm > 0.5, "so that the gradient was cut"
    told = norms.after_update(step.grad_norm, engine.clip)
    layers = {"token_embedding", "position_embedding", "blocks.0", "blocks.1", "final_norm"}
    assert set(told["grad_norms"]) == set(told["update_norms"]) == layers
    total = math.sqrt(sum(norm**2 for norm in told["grad_norms"].values()))
    assert total == pytest.approx(step.grad_norm, rel=1e-4)
    for layer, norm in told["update_norms"].items():
        square = sum(
            float((parameter.detach() - before[name]).double().pow(2).sum())
            for name, parameter in engine.model.named_parameters()
            if name.startswith(f"{layer}.") or name == layer
        )
        assert norm == pytest.approx(math.sqrt(square), rel=1e-4), layer
        assert norm > 0
