"""Rows that branch on the end of a trunk, against each sequence as a whole."""

from dataclasses import replace

import pytest
import torch

from ensue.model.branches import Branches, Trunk
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Fixed, Strided, TwoWay
from ensue.model.presets import gpt2, modern

SIZE = {"layers": 3, "width": 16, "heads": 2, "context": 12, "vocab": 13}
KINDS = {
    "learned": gpt2(**SIZE),
    "rotary": modern(**SIZE),
    "sparse": replace(gpt2(**SIZE), patterns=(Strided(3), Fixed(4, 2, spread=True), Banded(2))),
}
TRUNK, LEFT, RIGHT = [1, 2, 3, 4, 5], [6, 7], [8, 9, 10]


def build(config: GPTConfig) -> GPT:
    model = GPT.build(config, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def chain(trunk: Trunk, length: int, *, keep: bool) -> Branches:
    positions = torch.arange(trunk.length, trunk.length + length)[None]
    ancestors = torch.ones(1, length, length, dtype=torch.bool).tril()
    return Branches(trunk, positions, ancestors, held=trunk.length + length, keep=keep)


@pytest.mark.parametrize("kind", [*KINDS])
@torch.no_grad()
def test_two_branches_in_a_row_see_the_trunk_and_not_each_other(kind: str) -> None:
    model = build(KINDS[kind])
    trunk = Trunk(model.config, capacity=8)
    for part in (TRUNK[:2], TRUNK[2:]):
        model.hidden(torch.tensor([part]), cache=chain(trunk, len(part), keep=True))
    assert trunk.length == 5
    ancestors = torch.block_diag(torch.ones(2, 2).tril(), torch.ones(3, 3).tril()).bool()[None]
    branches = Branches(trunk, torch.tensor([[5, 6, 5, 6, 7]]), ancestors, held=8)
    found = model.hidden(torch.tensor([LEFT + RIGHT]), cache=branches)
    for branch, states in ((LEFT, found[0, :2]), (RIGHT, found[0, 2:])):
        whole = model.hidden(torch.tensor([TRUNK + branch]))[0, 5:]
        torch.testing.assert_close(states, whole, rtol=0, atol=1e-5)
    assert trunk.length == 5


@pytest.mark.parametrize("kind", [*KINDS])
@torch.no_grad()
def test_a_trunk_that_is_cut_back_grows_another_way(kind: str) -> None:
    model = build(KINDS[kind])
    trunk = Trunk(model.config, capacity=8)
    model.hidden(torch.tensor([TRUNK + RIGHT]), cache=chain(trunk, 8, keep=True))
    trunk.cut(5)
    found = model.hidden(torch.tensor([LEFT]), cache=chain(trunk, 2, keep=True))
    torch.testing.assert_close(found[0], model.hidden(torch.tensor([TRUNK + LEFT]))[0, 5:], rtol=0, atol=1e-5)


@torch.no_grad()
def test_taps_read_the_same_attention() -> None:
    model = build(KINDS["sparse"])
    trunk = Trunk(model.config, capacity=5)
    model.hidden(torch.tensor([TRUNK]), cache=chain(trunk, 5, keep=True))
    plain = model.hidden(torch.tensor([LEFT]), cache=chain(trunk, 2, keep=False))
    tapped = model.hidden(torch.tensor([LEFT]), cache=chain(trunk, 2, keep=False), taps=lambda name, tensor: tensor)
    torch.testing.assert_close(tapped, plain, rtol=0, atol=1e-5)


def test_what_does_not_fit() -> None:
    model = build(KINDS["learned"])
    with pytest.raises(ValueError, match="13 tokens are more than this model's context of 12"):
        model.hidden(torch.tensor([[1] * 13]), cache=chain(Trunk(model.config, capacity=13), 13, keep=False))
    two_way = GPT.build(replace(KINDS["learned"], patterns=(TwoWay(),)), 0)
    with pytest.raises(ValueError, match="two-way"):
        two_way.hidden(torch.tensor([[1]]), cache=chain(Trunk(two_way.config, capacity=1), 1, keep=False))
