"""The next token of each request from its logits, and what is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ensue.generate.engine.drawing import draw_token
from ensue.generate.engine.requests import Request, Told
from ensue.generate.sampling import check_numbers, choose, uniform

NEVER = float("-inf")


@dataclass(frozen=True)
class Choice:
    """One place where a token is to be chosen: the request, all its tokens so far, how many of them are new."""

    request: Request
    history: Sequence[int]
    made: int


def choose_tokens(logits: Tensor, choices: Sequence[Choice], vocabulary: int) -> list[int]:
    """The token at each place; `logits` (N, V) float, of which ids from `vocabulary` on are never chosen.

    A token depends on its own row, request and history alone. Raises ValueError where logits are not numbers.
    """
    rows = logits[:, :vocabulary]
    tokens = [0] * len(choices)
    plain = [place for place, choice in enumerate(choices) if choice.request.plain]
    if plain:
        likeliest = (rows if len(plain) == len(choices) else rows[plain]).max(-1)
        check_numbers(likeliest.values)
        for place, token in zip(plain, likeliest.indices.tolist(), strict=True):
            tokens[place] = token
    if len(plain) < len(choices):
        rows = rows.cpu()  # a draw is many small steps, each of which a GPU would be waited for
    for place, choice in enumerate(choices):
        if not choice.request.plain:
            tokens[place] = _choose(rows[place], choice)
    return tokens


def tell(logits: Tensor, tokens: Sequence[int], likeliest: int) -> list[Told]:
    """What is known of a token at each of the (N, V) logits: ln p, rank, and the `likeliest` there with theirs."""
    chosen = torch.tensor(tokens, device=logits.device)[:, None]
    own = logits.gather(1, chosen)
    total = logits.logsumexp(-1, keepdim=True)
    nats = (own - total)[:, 0].tolist()
    ranks = (logits > own).sum(-1).tolist()
    if not likeliest:
        return [Told(token, value, (), rank) for token, value, rank in zip(tokens, nats, ranks, strict=True)]
    top = logits.topk(min(likeliest, logits.shape[1]))
    values = (top.values - total).tolist()
    return [
        Told(token, value, tuple(zip(ids, theirs, strict=True)), rank)
        for token, value, rank, ids, theirs in zip(tokens, nats, ranks, top.indices.tolist(), values, strict=True)
    ]


def _choose(row: Tensor, choice: Choice) -> int:
    request = choice.request
    new = choice.history[len(choice.history) - choice.made :]
    changed = row
    if request.bias or request.presence or request.frequency or request.constraint is not None:
        changed = row.clone()
        _penalise(changed, Counter(new), request)
        for token, bias in request.bias.items():
            if token < len(changed):
                changed[token] += bias
        if request.constraint is not None:
            allowed = request.constraint(new)[: len(changed)]
            changed[~allowed] = NEVER
    sampling = request.sampling
    drawn = uniform(request.seed, choice.made) if sampling.temperature else 0.5
    if sampling.temperature and sampling.repetition_penalty == 1 and not sampling.no_repeat_ngram:
        check_numbers(row)
        return draw_token(changed, sampling, drawn)
    (token,) = choose(changed[None], sampling, histories=[choice.history], uniforms=[drawn])
    return token


def _penalise(row: Tensor, counts: Counter[int], request: Request) -> None:
    if not counts or not (request.presence or request.frequency):
        return
    tokens = torch.tensor(list(counts), device=row.device)
    often = torch.tensor(list(counts.values()), dtype=row.dtype, device=row.device)
    row[tokens] -= request.presence + request.frequency * often
