"""Log-probabilities token by token, each pair of texts in a row of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ensue.generate.forward import pad, reading
from ensue.generate.score import LOGITS_AT_ONCE, Pair
from ensue.model.gpt import GPT

# Legend: B rows, T tokens, N scored tokens of a batch, W width, V vocabulary.


@dataclass(frozen=True)
class TokenScores:
    """Of a continuation's tokens: ln p of each in nats, and whether it was the likeliest there."""

    nats: tuple[float, ...]
    greedy: tuple[bool, ...]


def score_tokens(
    model: GPT, pairs: Sequence[Pair], *, batch_tokens: int = 8192, on_done: Callable[[int], None] | None = None
) -> list[TokenScores]:
    """The scores of each continuation after its context, both token ids; a context too long keeps its end."""
    window = model.config.context
    rows = [([*context, *continuation][-window - 1 :], len(continuation)) for context, continuation in pairs]
    scores: list[TokenScores | None] = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda place: -len(rows[place][0]))
    while order:
        together = max(1, batch_tokens // len(rows[order[0]][0]))
        group, order = order[:together], order[together:]
        for place, score in zip(group, _score(model, [rows[place] for place in group]), strict=True):
            scores[place] = score
        if on_done is not None:
            on_done(len(group))
    return [score for score in scores if score is not None]


def _score(model: GPT, rows: Sequence[tuple[list[int], int]]) -> list[TokenScores]:
    device = model.token_embedding.weight.device
    with reading(model):
        hidden = model.hidden(pad([tokens[:-1] for tokens, _ in rows], device))  # (B, T, W)
        spans = [range(len(tokens) - 1 - count, len(tokens) - 1) for tokens, count in rows]
        row_of = torch.tensor([row for row, span in enumerate(spans) for _ in span], device=device)
        states = hidden[row_of, torch.tensor([place for span in spans for place in span], device=device)]  # (N, W)
        targets = torch.tensor([token for tokens, count in rows for token in tokens[-count:]], device=device)  # (N,)
        nats: list[float] = []
        greedy: list[bool] = []
        step = max(1, LOGITS_AT_ONCE // model.config.vocab)
        for first in range(0, len(targets), step):
            logits = model.logits(states[first : first + step]).float()
            chosen = logits.gather(1, targets[first : first + step, None])[:, 0]
            nats.extend((chosen - logits.logsumexp(-1)).tolist())
            greedy.extend((chosen == logits.amax(-1)).tolist())
    scores, done = [], 0
    for _, count in rows:
        scores.append(TokenScores(tuple(nats[done : done + count]), tuple(greedy[done : done + count])))
        done += count
    return scores
