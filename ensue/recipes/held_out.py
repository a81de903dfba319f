"""The loss on held-out text, in nats a token and in bits a byte of the original text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch

from ensue.core.device import autocast
from ensue.loss.types import Objective
from ensue.model.gpt import GPT
from ensue.tokens.batch import Batch
from ensue.tokens.shards import Shard
from ensue.tokens.stream import evaluation_batches
from ensue.train.parallel import Place
from ensue.train.parallel_replica import Alone, Replica


@dataclass(frozen=True)
class HeldOutLoss:
    """nats a token, bits a UTF-8 byte, and how many tokens and bytes were scored (end tokens are scored too)."""

    nats: float
    bits_per_byte: float
    tokens: int
    bytes: int


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
    replica: Replica | None = None,
) -> HeldOutLoss:
    """Score the first whole documents within `limit_tokens` (all unless said), each token once, in order.

    Windows start every `stride` tokens (the whole context unless said), so a token sees at least context - stride
    tokens before it, where there are as many. Bits per byte = nats / ln 2 / bytes (GPT-2 2019, section 3.1). Where the
    model is spread over processes, all of them score a part each.
    """
    replica = replica or Alone(model, objective)
    context = min(model.config.context, len(shard.tokens))
    stride = None if stride is None else min(stride, context)
    tokens, size = len(shard.tokens), shard.bytes
    if limit_tokens is not None and limit_tokens < tokens:
        tokens, size = shard.whole_documents(limit_tokens)
    device = model.token_embedding.weight.device
    was_training = model.training
    model.eval()
    nats = 0.0
    batches = evaluation_batches(shard, context=context, micro_batch=micro_batch, stride=stride, limit_tokens=tokens)
    for batch in _share(batches, replica.place):
        with autocast(device, precision):
            nats += float(objective.loss(model, batch.to(device)).total)
    model.train(was_training)
    replica.forget_gathered()
    (nats,) = replica.total([nats])
    return HeldOutLoss(nats / tokens, nats / math.log(2) / size, tokens, size)


def _share(batches: Iterable[Batch], place: Place) -> Iterator[Batch]:
    """Every so-manieth batch. All processes get as many, since they meet in each: one left over weighs 0."""
    rest = iter(batches)
    while together := list(islice(rest, place.readers)):
        if place.reader < len(together):
            yield together[place.reader]
        else:
            yield replace(together[0], weights=torch.zeros_like(together[0].weights))
