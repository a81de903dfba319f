"""The two passes that generation is made of: prefill the prompts, then one token a row over the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ensue.model.cache import Cache
from ensue.model.gpt import GPT

# Legend: B rows, T tokens of the longest row, W width, V vocabulary.


@contextmanager
def reading(model: GPT) -> Iterator[None]:
    """No gradients and no dropout inside the block; the model's mode is put back after it.

    `no_grad` rather than `inference_mode`: the model keeps its square masks between calls, and torch refuses to save
    one that was made in inference mode for a later training step's backward pass.
    """
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if was_training:
            model.train()


def pad(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Rows of token ids as one (B, T) int64 tensor, filled up with 0 on the right, where a causal model looks last."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], dtype=torch.long, device=device)


def prefill(model: GPT, prompts: Sequence[Sequence[int]], *, capacity: int) -> tuple[Cache, Tensor]:
    """Run prompts of any lengths through the model once: the cache that holds them, (B, V) logits of what ensues."""
    lengths = [len(prompt) for prompt in prompts]
    cache = model.new_cache(len(prompts), capacity=capacity)
    device = cache.device
    with reading(model):
        hidden = model.hidden(pad(prompts, device), cache=cache)  # (B, T, W)
        cache.cut(lengths)
        last = torch.tensor(lengths, device=device) - 1
        logits = model.logits(hidden[torch.arange(len(prompts), device=device), last])
    return cache, logits.float()


def next_logits(model: GPT, cache: Cache, tokens: Sequence[int]) -> Tensor:
    """Add one token to each row of the cache; (B, V) logits of what ensues."""
    with reading(model):
        logits: Tensor = model(torch.tensor(tokens, dtype=torch.long, device=cache.device)[:, None], cache=cache)
    return logits[:, 0].float()


def check_prompts(model: GPT, prompts: Sequence[Sequence[int]]) -> None:
    """Raise ValueError for a prompt that is empty, holds an unknown token, or is longer than the model's context."""
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(
                f"prompt {number} has no tokens; begin it with the tokenizer's end token, as GPT-2's unconditional "
                "samples do."
            )
        if len(prompt) > model.config.context:
            raise ValueError(
                f"prompt {number} has {len(prompt):,} tokens, more than this model's context of "
                f"{model.config.context:,}; shorten it, or keep only its end with --truncate (truncate=True)."
            )
        if not 0 <= min(prompt) <= max(prompt) < model.config.vocab:
            raise ValueError(
                f"prompt {number} has a token id outside this model's vocabulary of {model.config.vocab:,}; "
                "encode it with the model's own tokenizer."
            )
