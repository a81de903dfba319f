"""The loss on held-out text, in nats a token and in bits a byte of the original text; or on its hidden tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import torch

from ensue.core.device import autocast
from ensue.core.seeds import seed_for
from ensue.loss.types import Objective
from ensue.model.gpt import GPT
from ensue.tokens.batch import Batch
from ensue.tokens.masking import Masking
from ensue.tokens.shards import Shard
from ensue.tokens.stream import evaluation_batches
from ensue.train.parallel import Place
from ensue.train.parallel_replica import Alone, Replica


@dataclass(frozen=True)
class HeldOutLoss:
    """nats a token, bits a UTF-8 byte, and how many tokens and bytes were scored (end tokens are scored too).

    Where hidden tokens are foretold, `nats` and `tokens` are of these alone, and there are no bits per byte: a model
    that sees both sides says nothing of a text's likelihood. `parts` are the same of each source of a mixture, by its
    name.
    """

    nats: float
    bits_per_byte: float | None
    tokens: int
    bytes: int
    parts: Mapping[str, HeldOutLoss] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.bits_per_byte is None:
            return f"{self.nats:.3f} nats a hidden token"
        return f"{self.nats:.3f} nats a token, {self.bits_per_byte:.3f} bits per byte"


@torch.no_grad()
def held_out_loss(
    model: GPT,
    shard: Shard,
    *,
    objective: Objective[Batch],
    micro_batch: int,
    precision: str,
    limit_tokens: int | None = None,
    stride: int | None = None,
    masking: Masking | None = None,
    replica: Replica | None = None,
) -> HeldOutLoss:
    """Score the first whole documents within `limit_tokens` (all unless said), each token once, in order.

    Windows start every `stride` tokens (the whole context unless said), so a token sees at least context - stride
    tokens before it, where there are as many. Bits per byte = nats / ln 2 / bytes (GPT-2 2019, section 3.1). With
    `masking` only the tokens are scored that it hides, the same ones each time, and windows do not overlap. Where the
    model is spread over processes, all of them score a part each.
    """
    replica = replica or Alone(model, objective)
    context = min(model.config.context, len(shard.tokens))
    stride = None if stride is None or masking is not None else min(stride, context)
    tokens, size = len(shard.tokens), shard.bytes
    if limit_tokens is not None and limit_tokens < tokens:
        tokens, size = shard.whole_documents(limit_tokens)
    device = model.token_embedding.weight.device
    was_training = model.training
    model.eval()
    nats = hidden = 0.0
    batches = evaluation_batches(shard, context=context, micro_batch=micro_batch, stride=stride, limit_tokens=tokens)
    if masking is not None:
        batches = _hidden(batches, masking)
    for batch in _share(batches, replica.place):
        with autocast(device, precision):
            nats += float(objective.loss(model, batch.to(device)).total)
        hidden += float(batch.weights.sum())
    model.train(was_training)
    replica.forget_gathered()
    nats, hidden = replica.total([nats, hidden])
    if masking is not None:
        return HeldOutLoss(nats / hidden, None, int(hidden), size)
    return HeldOutLoss(nats / tokens, nats / math.log(2) / size, tokens, size)


def mixed_held_out_loss(
    model: GPT,
    shards: Sequence[tuple[str, float, Shard]],
    *,
    objective: Objective[Batch],
    micro_batch: int,
    precision: str,
    limit_tokens: int | None = None,
    stride: int | None = None,
    masking: Masking | None = None,
    replica: Replica | None = None,
) -> HeldOutLoss:
    """`held_out_loss` of one shard, or of several, each a (name, weight, shard) with an equal part of `limit_tokens`.

    What is told of several together is for text of which each has as many of the tokens as its weight says, however
    much of it was scored.
    """
    limit = None if limit_tokens is None else max(1, limit_tokens // len(shards))
    found = {
        name: held_out_loss(
            model,
            shard,
            objective=objective,
            micro_batch=micro_batch,
            precision=precision,
            limit_tokens=limit,
            stride=stride,
            masking=masking,
            replica=replica,
        )
        for name, _, shard in shards
    }
    if len(found) == 1:
        return next(iter(found.values()))
    weights = {name: weight for name, weight, _ in shards}
    nats = sum(weights[name] * loss.nats for name, loss in found.items())
    tokens, scored = sum(loss.tokens for loss in found.values()), sum(loss.bytes for loss in found.values())
    if masking is not None:
        return HeldOutLoss(nats, None, tokens, scored, found)
    size = sum(weights[name] * loss.bytes / loss.tokens for name, loss in found.items())  # bytes a token
    return HeldOutLoss(nats, nats / math.log(2) / size, tokens, scored, found)


def _hidden(batches: Iterable[Batch], masking: Masking) -> Iterator[Batch]:
    """Each window with some of the tokens that it scores hidden: the same ones whenever and however they are read."""
    window = 0
    for batch in batches:
        seeds = [seed_for(0, "hidden of held out", window + row) for row in range(len(batch.tokens))]
        window += len(batch.tokens)
        yield masking.hide(replace(batch, tokens=batch.targets), seeds)


def _share(batches: Iterable[Batch], place: Place) -> Iterator[Batch]:
    """Every so-manieth batch. All processes get as many, since they meet in each: one left over weighs 0."""
    rest = iter(batches)
    while together := list(islice(rest, place.readers)):
        if place.reader < len(together):
            yield together[place.reader]
        else:
            yield replace(together[0], weights=torch.zeros_like(together[0].weights))
