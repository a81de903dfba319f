"""Which weights are kept and which are drawn anew, and that what is kept computes what it did."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.layer_transfer import with_first_layers
from ensue.model.presets import gpt, modern

LAYERS = 3
CONFIGS = (
    gpt(layers=LAYERS, width=16, heads=2, context=12, vocab=30),
    modern(layers=LAYERS, width=16, heads=2, context=12, vocab=30),
)


@settings(max_examples=30)
@given(st.sampled_from(CONFIGS), st.integers(0, LAYERS), st.booleans())
def test_the_first_layers_and_the_embeddings_are_kept(config: GPTConfig, layers: int, tied: bool) -> None:
    model = GPT.build(replace(config, tied=tied), 1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3)  # so that nothing is as it is drawn
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    kept = with_first_layers(model, layers, seed=2)
    anew = dict(GPT.build(model.config, 2).named_parameters())
    for name, parameter in kept.named_parameters():
        block = int(name.split(".")[1]) if name.startswith("blocks.") else -1
        is_kept = layers == LAYERS if name.startswith("final_norm") else block < layers
        assert torch.equal(parameter, before[name] if is_kept else anew[name]), name
        assert parameter.data_ptr() != dict(model.named_parameters())[name].data_ptr()
    tokens = torch.randint(30, (2, 12))
    seen: list[dict[str, torch.Tensor]] = []
    for each in (model, kept):
        found: dict[str, torch.Tensor] = {}

        def keep(name: str, value: torch.Tensor, found: dict[str, torch.Tensor] = found) -> torch.Tensor:
            found[name] = value
            return value

        with torch.no_grad():
            each(tokens, taps=keep)
        seen.append(found)
    assert torch.equal(seen[0]["embedding"], seen[1]["embedding"])
    assert torch.equal(seen[0]["final"], seen[1]["final"]) == (layers == LAYERS)


@pytest.mark.parametrize("layers", [-1, LAYERS + 1])
def test_more_layers_than_there_are(layers: int) -> None:
    with pytest.raises(ValueError, match="0 to 3"):
        with_first_layers(GPT.build(CONFIGS[0], 0), layers, seed=0)
