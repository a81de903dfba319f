"""A whole model with sparse layers is the same whether they run part by part or as all pairs under a mask."""

from dataclasses import replace

import pytest
import torch

from ensue.model import attention
from ensue.model.gpt import GPT
from ensue.model.patterns import Banded, Dense, Fixed, Strided
from ensue.model.presets import gpt3


@pytest.mark.parametrize(
    "pattern", [Banded(9), Strided(8), Strided(8, "second"), Fixed(8, 2), Fixed(8, 2, spread=True)]
)
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("separate", [False, True])
def test_parts_equal_pairs(pattern, bf16, separate, monkeypatch):
    config = replace(gpt3(layers=2, width=64, heads=2, context=100, vocab=50), patterns=(Dense(), pattern))
    model = GPT.build(config, 0).eval()
    tokens = torch.randint(50, (2, 100), generator=torch.Generator().manual_seed(0))
    segments = (torch.arange(100) // 30).int().expand(2, 100) if separate else None

    def run(sparse_from):
        monkeypatch.setattr(attention, "SPARSE_FROM", sparse_from)
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            hidden = model.hidden(tokens, segments=segments)
        hidden.float().square().sum().backward()
        gradients = [parameter.grad.to_dense() for parameter in model.parameters() if parameter.grad is not None]
        return torch.cat([gradient.flatten() for gradient in gradients]), hidden.detach().float()

    pairs, parts = run(10_000), run(1)
    tolerance = 0.03 if bf16 else 1e-4
    for found, wanted in zip(parts, pairs, strict=True):
        assert (found - wanted).norm() < tolerance * wanted.norm()
    if not (bf16 and isinstance(pattern, Banded)):  # bands in bf16 are one kernel either way
        assert not torch.equal(parts[0], pairs[0])  # or only one of the two ways ran
