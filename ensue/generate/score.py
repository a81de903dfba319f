"""What the model thinks of a text: log-likelihoods in nats, batched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ensue.generate.forward import pad, reading
from ensue.model.gpt import GPT
from ensue.model.patterns import TwoWay

# Legend: B rows, T tokens, N scored tokens of a batch, W width, V vocabulary.

Pair = tuple[Sequence[int], Sequence[int]]

LOGITS_AT_ONCE = 2**25
"""How many logits are held in memory at a time."""


def loglikelihood(model: GPT, context: Sequence[int], continuation: Sequence[int]) -> float:
    """ln p(continuation | context) in nats, summed over the continuation's tokens; see `loglikelihoods`."""
    return loglikelihoods(model, [(context, continuation)])[0]


def loglikelihoods(model: GPT, pairs: Sequence[Pair], *, batch_tokens: int = 8192) -> list[float]:
    """ln p(continuation | context) in nats of each (context, continuation) of token ids.

    Rows of like length share a pass of at most `batch_tokens` tokens. Where the two together are longer than the
    model's window, the context keeps its last tokens. Raises ValueError for an empty context or continuation, and for
    a continuation longer than the window.
    """
    if any(isinstance(pattern, TwoWay) for pattern in model.config.patterns):
        raise ValueError(
            "a model with a two-way pattern sees what it should foretell; it has no log-likelihood of a text."
        )
    rows = [_row(model, number, context, continuation) for number, (context, continuation) in enumerate(pairs)]
    scores = [0.0] * len(rows)
    for places in _like_lengths([len(tokens) for tokens, _ in rows], batch_tokens):
        for place, score in zip(places, _score(model, [rows[place] for place in places]), strict=True):
            scores[place] = score
    return scores


def rolling_loglikelihood(model: GPT, tokens: Sequence[int], *, first: int, batch_tokens: int = 8192) -> float:
    """ln p(tokens) in nats of a text of any length, in windows that do not overlap, each token scored once.

    The first token is read after `first` (the end token), every later window after the one token before it.
    """
    window = model.config.context
    starts = range(0, len(tokens), window)
    pairs = [([tokens[i - 1] if i else first], tokens[i : i + window]) for i in starts]
    return sum(loglikelihoods(model, pairs, batch_tokens=batch_tokens))


def _row(model: GPT, number: int, context: Sequence[int], continuation: Sequence[int]) -> tuple[list[int], int]:
    """A row's tokens, the last of them only a target, and how many at its end are scored."""
    window = model.config.context
    if not context:
        raise ValueError(f"pair {number}: the context has no tokens; begin it with the tokenizer's end token.")
    if not continuation:
        raise ValueError(f"pair {number}: the continuation has no tokens, so there is nothing to score; give it some.")
    if len(continuation) > window:
        raise ValueError(
            f"pair {number}: the continuation has {len(continuation):,} tokens, more than this model's context of "
            f"{window:,}; shorten it, or score it as a rolling log-likelihood."
        )
    # The last token is never an input, so window + 1 tokens fit.
    return [*context, *continuation][-window - 1 :], len(continuation)


def _like_lengths(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Groups of places, longest rows first, whose padded size is at most `batch_tokens` (or one row)."""
    group: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if group and (len(group) + 1) * lengths[group[0]] > batch_tokens:
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def _score(model: GPT, rows: Sequence[tuple[list[int], int]]) -> list[float]:
    device = model.token_embedding.weight.device
    with reading(model):
        hidden = model.hidden(pad([tokens[:-1] for tokens, _ in rows], device))  # (B, T, W)
        spans = [range(len(tokens) - 1 - count, len(tokens) - 1) for tokens, count in rows]
        row_of = torch.tensor([row for row, span in enumerate(spans) for _ in span], device=device)
        states = hidden[row_of, torch.tensor([place for span in spans for place in span], device=device)]  # (N, W)
        targets = torch.tensor([token for tokens, count in rows for token in tokens[-count:]], device=device)  # (N,)
        nats = _target_nats(model, states, targets)
        sums = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, row_of.cpu(), nats.cpu())
    scores: list[float] = sums.tolist()
    return scores


def _target_nats(model: GPT, states: Tensor, targets: Tensor) -> Tensor:
    """ln p of each of N targets after its (N, W) state, float64, without holding (N, V) logits at once."""
    step = max(1, LOGITS_AT_ONCE // model.config.vocab)
    pieces = []
    for first in range(0, len(targets), step):
        logits = model.logits(states[first : first + step]).float()
        chosen = logits.gather(1, targets[first : first + step, None])[:, 0]
        pieces.append((chosen - logits.logsumexp(-1)).double())
    return torch.cat(pieces)
