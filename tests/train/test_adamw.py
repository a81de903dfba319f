"""Our AdamW beside torch's own: the same weights and the same state, to the bit."""

import torch
from torch import nn

from ensue.train.adamw import AdamW


def test_it_is_torchs_to_the_bit():
    torch.manual_seed(0)
    shapes = [(300, 400), (7, 5), (5,), (), (3, 3)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    groups = [
        {"params": ours[:2], "lr": 1e-2, "weight_decay": 0.1},
        {"params": ours[2:], "lr": 1e-2, "weight_decay": 0.0},
    ]
    one = AdamW(groups, betas=(0.9, 0.95), epsilon=1e-8)
    other = torch.optim.AdamW(
        [{"params": theirs[:2], "weight_decay": 0.1}, {"params": theirs[2:], "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.9, 0.95),
        eps=1e-8,
        fused=True,
    )
    for step in range(5):
        for a, b in zip(ours[:-1], theirs[:-1], strict=True):  # the last has no gradient, and is left alone
            a.grad = torch.randn(a.shape)
            b.grad = a.grad.clone()
        for optimizer in (one, other):
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 / (step + 1)
            optimizer.step()
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b)
            assert one.state.get(a, {}).keys() == other.state.get(b, {}).keys()
            assert all(torch.equal(value, other.state[b][name]) for name, value in one.state.get(a, {}).items())
    one.zero_grad()
    assert all(parameter.grad is None for parameter in ours)
