"""Beam search, as GPT-3's free-form tasks use it: width 4, length penalty 0.6 (GPT-3 2020, section 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ensue.generate.forward import check_prompts, next_logits, prefill
from ensue.generate.sampling import block_repeated_ngrams
from ensue.model.gpt import GPT

# Legend: B live beams, V vocabulary.


@dataclass(frozen=True)
class Beam:
    """One continuation.

    tokens           the new tokens, the stop token included where it ended on one
    log_probability  ln p(tokens | prompt) in nats: the sum over all of `tokens`
    score            log_probability / ((5 + len(tokens)) / 6) ** length_penalty (Wu et al. 2016, equation 14)
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float


def beam_search(
    model: GPT,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    width: int = 4,
    length_penalty: float = 0.6,
    stop_tokens: frozenset[int] = frozenset(),
    no_repeat_ngram: int = 0,
    vocabulary: int | None = None,
    ended: Callable[[Sequence[int]], bool] | None = None,
) -> list[Beam]:
    """The `width` best continuations found, best score first.

    Each step keeps the likeliest extensions of the live beams. One that ends, with a stop token or because `ended` says
    so of its new tokens, keeps its place among the `width`, so that width 1 is greedy search. Ids of `vocabulary` and
    above are never chosen. Raises ValueError where the prompt and `max_new_tokens` do not fit the context together.
    """
    check_prompts(model, [prompt])
    if width < 1 or max_new_tokens < 1:
        raise ValueError(f"beam search of width {width} for {max_new_tokens} tokens: both must be at least 1.")
    if len(prompt) + max_new_tokens > model.config.context:
        raise ValueError(
            f"a prompt of {len(prompt):,} tokens and {max_new_tokens:,} new ones do not fit this model's context of "
            f"{model.config.context:,} in beam search; shorten the prompt or ask for fewer new tokens."
        )
    finished: list[Beam] = []
    live: list[list[int]] = [[]]
    totals = torch.zeros(1, dtype=torch.float64)  # (B,) log-probability of each live beam
    cache, logits = prefill(model, [prompt], capacity=len(prompt) + max_new_tokens)
    for step in range(1, max_new_tokens + 1):
        steps = logits.double().log_softmax(-1)[:, :vocabulary].cpu()  # (B, V)
        steps = block_repeated_ngrams(steps, [[*prompt, *tokens] for tokens in live], length=no_repeat_ngram)
        sums = (totals[:, None] + steps).flatten()
        best = sums.topk(min(width - len(finished), len(sums)))
        parents, extended, kept = [], [], []
        for total, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            if total == float("-inf"):
                break
            parent, token = divmod(place, steps.shape[1])
            tokens = [*live[parent], token]
            if step == max_new_tokens or token in stop_tokens or (ended is not None and ended(tokens)):
                finished.append(Beam(tuple(tokens), total, total / ((5 + len(tokens)) / 6) ** length_penalty))
            else:
                parents.append(parent)
                extended.append(tokens)
                kept.append(total)
        if not extended:
            break
        live, totals = extended, torch.tensor(kept, dtype=torch.float64)
        cache.reorder(parents)
        logits = next_logits(model, cache, [tokens[-1] for tokens in live])
    return sorted(finished, key=lambda beam: beam.score, reverse=True)
