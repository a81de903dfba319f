"""A model with new tokens behind its vocabulary, or with other dropouts; the weights are its own."""

from __future__ import annotations

from dataclasses import replace

import torch

from ensue.core.seeds import seed_for
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT

TOKEN_TABLES = ("token_embedding.weight", "head.weight")

NEW_TOKEN_STD = 0.02
"""Of the rows drawn for new tokens, whatever the model was drawn with (GPT's fine-tuning code)."""


@torch.no_grad()
def with_more_tokens(model: GPT, count: int, *, seed: int) -> GPT:
    """A copy of the model with `count` more token rows, drawn N(0, 0.02) from the seed.

    An output matrix of its own gets as many rows. Ids of the new tokens follow on `model.config.vocab`.
    """
    old = model.config.vocab
    larger = GPT.empty(replace(model.config, vocab=old + count))
    sources = dict(model.named_parameters())
    for name, parameter in larger.named_parameters():
        if name not in TOKEN_TABLES:
            parameter.copy_(sources[name])
            continue
        parameter[:old].copy_(sources[name])
        generator = torch.Generator().manual_seed(seed_for(seed, "init", "new tokens", name))
        parameter[old:].normal_(0.0, NEW_TOKEN_STD, generator=generator)
    return larger.train(model.training)


def rebuilt(model: GPT, config: GPTConfig) -> GPT:
    """The same weights, not copied, in a model of another config: one that differs in dropouts, say."""
    with torch.device("meta"):
        other = GPT(config)
    other.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    return other.train(model.training)
