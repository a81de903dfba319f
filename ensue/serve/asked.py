"""From a client's fields to what the engine is asked."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ensue.generate.engine.requests import Request
from ensue.generate.sampling import row_seeds
from ensue.generate.settings import Sampling
from ensue.serve.errors import ApiError
from ensue.serve.schemas import ChatBody, CompletionBody, Prompt
from ensue.serve.service import Service

TOKEN_ID = re.compile(r"[0-9]{1,9}")


def prompts_in(prompt: Prompt) -> Sequence[str | list[int]]:
    """The one prompt, or each of several."""
    return [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt


async def read_prompts(
    service: Service, prompts: Sequence[str | Sequence[int]], *, param: str = "prompt"
) -> list[list[int]]:
    """The token ids of each prompt; an empty text is the end token, from which unconditional texts begin.

    Raises ApiError for ids that the tokenizer does not have.
    """
    tokenizer = service.tokenizer
    read: list[list[int]] = []
    for each in prompts:
        ids = await service.encode(each, param) if isinstance(each, str) else list(each)
        if ids and max(ids) >= tokenizer.vocab_size:
            raise ApiError(
                f"token {max(ids)} is not in the vocabulary; its ids are 0 to {tokenizer.vocab_size - 1}.", param=param
            )
        read.append(ids or [tokenizer.end])
    return read


def room_for(service: Service, prompt: Sequence[int], asked: int | None, *, usual: int | None) -> int:
    """How many tokens may be written after a prompt: what was asked, or `usual` as far as the context goes.

    Raises ApiError for more than the server allows. What does not fit is for `Service.check` to refuse.
    """
    limit, context = service.settings.limits.tokens, service.config.context
    if asked is None:
        left = max(1, context - len(prompt))
        return min(number for number in (left, usual, limit) if number is not None)
    if limit is not None and asked > limit:
        raise ApiError(f"max_tokens {asked:,} is more than the {limit:,} that this server allows.", param="max_tokens")
    return asked


def base_request(service: Service, body: CompletionBody | ChatBody) -> Request:
    """A request with all that does not depend on the prompt."""
    sampling = Sampling(
        body.temperature,
        None if body.top_k in (None, 0, -1) else body.top_k,
        body.top_p,
        body.repetition_penalty,
        body.no_repeat_ngram,
    )
    return Request(
        (),
        sampling=sampling,
        stop=frozenset() if body.ignore_end else frozenset({service.tokenizer.end}),
        bias=_bias(service, body.logit_bias or {}),
        presence=body.presence_penalty,
        frequency=body.frequency_penalty,
    )


def stops_of(body: CompletionBody | ChatBody) -> tuple[str, ...]:
    """The stop strings. Raises ApiError for an empty one."""
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if "" in stops:
        raise ApiError("a stop string is empty, which would stop before the first token; leave it out.", param="stop")
    return stops


def seeded(requests: Sequence[Request], seed: int | None) -> list[Request]:
    """Each with a seed of its own, which depends on `seed`, its prompt, and how often that came before it.

    So a prompt gets the same texts alone and among others. Without a seed they are different each time.
    """
    seeds = row_seeds([request.tokens for request in requests], secrets.randbits(63) if seed is None else seed)
    return [replace(request, seed=own) for request, own in zip(requests, seeds, strict=True)]


def _bias(service: Service, given: Mapping[str, float]) -> dict[int, float]:
    size = service.tokenizer.vocab_size
    wrong = [token for token in given if not TOKEN_ID.fullmatch(token) or int(token) >= size]
    if wrong:
        raise ApiError(f"{wrong[0]!r} is no token; logit_bias takes ids from 0 to {size - 1}.", param="logit_bias")
    return {int(token): bias for token, bias in given.items()}
