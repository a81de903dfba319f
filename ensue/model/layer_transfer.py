"""A model of which only the first layers were trained before (GPT 2018, section 5 and figure 2, left)."""

from __future__ import annotations

from copy import deepcopy

from ensue.model.gpt import GPT


def with_first_layers(model: GPT, layers: int, *, seed: int) -> GPT:
    """The model's embeddings, its output matrix and its first `layers` blocks; the blocks behind them are drawn anew.

    A norm behind the last block is kept where all blocks are. Raises ValueError for more blocks than there are.
    """
    total = model.config.layers
    if not 0 <= layers <= total:
        raise ValueError(f"this model has {total} layers, so 0 to {total} of them can be kept, not {layers}.")
    fresh = GPT.build(model.config, seed)
    fresh.token_embedding = deepcopy(model.token_embedding)
    fresh.position_embedding = deepcopy(model.position_embedding)
    fresh.head = deepcopy(model.head)
    for place in range(layers):
        fresh.blocks[place] = deepcopy(model.blocks[place])
    if layers == total:
        fresh.final_norm = deepcopy(model.final_norm)
    return fresh.train(model.training)
