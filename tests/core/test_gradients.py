"""Gradients that go straight to their parameters are those that autograd brings there."""

import pytest
import torch
from torch import nn

from ensue.core.gradients import give_gradient, gradients_given_at_once
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.tokens.batch import Batch

TIED = gpt2(layers=2, width=32, heads=1, context=16, vocab=40)


def gradients(model, *, at_once, bf16, batches=1):
    model.zero_grad(set_to_none=True)
    pointers = set()
    for seed in range(batches):
        tokens = torch.randint(40, (3, 17), generator=torch.Generator().manual_seed(seed))
        batch = Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), torch.ones(3, 16))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = NextToken().loss(model, batch).total
        with gradients_given_at_once(at_once):
            loss.backward()
        pointers.add(model.token_embedding.weight.grad.data_ptr())
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}, pointers


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("batches", [1, 3])
def test_a_tied_embedding_has_the_same_gradient_to_the_bit(bf16, batches):
    model = GPT.build(TIED, 0)
    usual, _ = gradients(model, at_once=False, bf16=bf16, batches=batches)
    found, pointers = gradients(model, at_once=True, bf16=bf16, batches=batches)
    assert len(pointers) == 1
    assert all(torch.equal(found[name], usual[name]) for name in usual)


def test_only_where_it_is_asked_for_and_only_into_parameters():
    parameter, gradient = nn.Parameter(torch.zeros(3)), torch.ones(3)
    assert give_gradient(parameter, gradient) is gradient
    with gradients_given_at_once(True):
        assert give_gradient(parameter * 1.0, gradient) is gradient
        assert parameter.grad is None
        assert give_gradient(parameter, gradient) is None
        assert parameter.grad is gradient
        more = torch.ones(3)
        assert give_gradient(parameter, more) is more
