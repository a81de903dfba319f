"""Choosing the next token: pure functions on logits, the same sums as `transformers`' processors.

The order is theirs too: repetition penalty, repeated n-grams, temperature, top-k, top-p, draw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from ensue.core.seeds import seed_for
from ensue.generate.settings import Sampling

# Legend: B rows, V vocabulary. None of these functions changes the logits it is given.

NEVER = float("-inf")


def choose(
    logits: Tensor, sampling: Sampling, *, histories: Sequence[Sequence[int]], uniforms: Sequence[float]
) -> list[int]:
    """The next token of each row.

    `logits` (B, V) float; `histories` the token ids that each row already has, prompt included; `uniforms` one number
    in (0, 1) for each row, which alone decides a draw. Raises ValueError where the logits are not numbers.
    """
    check_numbers(logits)
    logits = apply_repetition_penalty(logits, histories, penalty=sampling.repetition_penalty)
    logits = block_repeated_ngrams(logits, histories, length=sampling.no_repeat_ngram)
    if sampling.temperature == 0:
        greedy: list[int] = logits.argmax(-1).tolist()
        return greedy
    # The maximum goes first, so that no temperature, however small, can overflow.
    logits = (logits.double() - logits.amax(-1, keepdim=True)) / sampling.temperature
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p is not None:
        logits = keep_top_p(logits, sampling.top_p)
    return draw(logits, uniforms)


def check_numbers(logits: Tensor) -> None:
    """Raise ValueError where any of the logits is NaN."""
    if torch.isnan(logits).any():
        raise ValueError(
            "the model's logits are not numbers: its weights are damaged or diverged; load another checkpoint."
        )


def apply_repetition_penalty(logits: Tensor, histories: Sequence[Sequence[int]], *, penalty: float) -> Tensor:
    """(B, V) with the logit of every token in a row's history divided by `penalty`, or multiplied where negative."""
    if penalty == 1:
        return logits
    logits = logits.clone()
    for row, history in enumerate(histories):
        seen = torch.tensor(sorted(set(history)), dtype=torch.long, device=logits.device)
        seen = seen[seen < logits.shape[1]]
        old = logits[row, seen]
        logits[row, seen] = torch.where(old < 0, old * penalty, old / penalty)
    return logits


def block_repeated_ngrams(logits: Tensor, histories: Sequence[Sequence[int]], *, length: int) -> Tensor:
    """(B, V) with -inf for every token that would complete a run of `length` tokens the row's history already has.

    A row in which that would leave no token at all is left as it was: it has to repeat itself.
    """
    if length == 0:
        return logits
    logits = logits.clone()
    for row, history in enumerate(histories):
        if len(history) < length:
            continue
        last = list(history[len(history) - length + 1 :])
        starts = range(len(history) - length + 1)
        banned = {history[i + length - 1] for i in starts if list(history[i : i + length - 1]) == last}
        blocked = logits[row].clone()
        blocked[[token for token in banned if token < logits.shape[1]]] = NEVER
        if (blocked > NEVER).any():
            logits[row] = blocked
    return logits


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """(B, V) with -inf below the k-th largest logit of each row; ties with it stay (as GPT-2's released code)."""
    threshold = logits.topk(min(k, logits.shape[1])).values[:, -1:]  # (B, 1)
    return logits.masked_fill(logits < threshold, NEVER)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """(B, V) with -inf outside each row's nucleus: the smallest set of tokens whose probabilities sum to p or more.

    Holtzman et al. 2020, section 3.1, and `transformers`. GPT-2's released code differs: it also drops the token that
    crosses p, so that its sets sum to at most p (but keep one token).
    """
    if p >= 1:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probability = ordered.softmax(-1)
    before = probability.cumsum(-1) - probability  # what the likelier tokens already hold
    outside = before >= p
    outside[:, 0] = False
    return logits.masked_fill(torch.zeros_like(outside).scatter(1, order, outside), NEVER)


def draw(logits: Tensor, uniforms: Sequence[float]) -> list[int]:
    """One token of each row with its softmax probability, by the inverse of the cumulative distribution.

    Row b's token depends on row b's logits and uniforms[b] in (0, 1) alone. A token at -inf is never drawn.
    """
    cumulative = logits.double().softmax(-1).cumsum(-1)
    cumulative = cumulative / cumulative[:, -1:]  # ends in exactly 1, which every uniform is below
    places = torch.tensor(uniforms, dtype=torch.float64, device=logits.device)[:, None]
    tokens: list[int] = torch.searchsorted(cumulative, places, right=True)[:, 0].tolist()
    return tokens


def uniform(seed: int, position: int) -> float:
    """The random number in (0, 1) of one row's `position`-th new token: a hash, so that no generator has a state."""
    # 52 of the hash's 63 bits, and a half: exact in a float64, never 0 and never 1.
    return ((seed_for(seed, "token", position) >> 11) + 0.5) / 2**52


def row_seeds(prompts: Sequence[Sequence[int]], seed: int) -> list[int]:
    """A seed for each prompt that depends on `seed`, the prompt and how often it came before, not on its neighbours.

    So a prompt gives the same text alone and in any batch, and one prompt given five times gives five samples.
    """
    seen: Counter[str] = Counter()
    seeds = []
    for prompt in prompts:
        name = " ".join(map(str, prompt))
        seeds.append(seed_for(seed, "prompt", name, seen[name]))
        seen[name] += 1
    return seeds
