"""Generation over the cache: prefill the prompts, take each row's last logits, then one token a step.

A row that reaches the context slides: it keeps the last context // 2 tokens, its newest among them, and reads them
again from position 0 on. Up to there the tokens are those of a model that reads everything anew at each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from ensue.generate.forward import check_prompts, next_logits, prefill
from ensue.generate.sampling import choose, row_seeds, uniform
from ensue.generate.settings import Sampling
from ensue.model.cache import Cache
from ensue.model.gpt import GPT

OnToken = Callable[[int, int], bool | None]
"""Called with (row, token) for each new token, in order; True ends that row."""


@dataclass(frozen=True)
class _Row:
    number: int
    seed: int
    history: list[int]  # the prompt and what was added to it


def stream_tokens(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    *,
    sampling: Sampling,
    max_new_tokens: int,
    stop_tokens: frozenset[int] = frozenset(),
    vocabulary: int | None = None,
    seeds: Sequence[int] | None = None,
    on_token: OnToken | None = None,
) -> Iterator[list[tuple[int, int]]]:
    """Yield, for each step, the (row, token) of every row that is still going; all rows are in the cache at once.

    A row ends with a stop token (which is yielded), when `on_token` says so, or after `max_new_tokens`; it costs
    nothing from then on. Only ids below `vocabulary` are chosen, for models whose embedding is padded. `seeds` are
    `row_seeds` of the prompts unless given. Raises ValueError at once for an empty prompt and for one longer than the
    context.
    """
    _check_length(max_new_tokens)
    check_prompts(model, prompts)
    if seeds is None:
        seeds = row_seeds(prompts, sampling.seed)
    numbered = enumerate(zip(seeds, prompts, strict=True))
    rows = [_Row(number, seed, list(prompt)) for number, (seed, prompt) in numbered]
    return _steps(model, rows, sampling, max_new_tokens, stop_tokens, vocabulary, on_token)


def generate_tokens(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    *,
    sampling: Sampling,
    max_new_tokens: int,
    stop_tokens: frozenset[int] = frozenset(),
    vocabulary: int | None = None,
    on_token: OnToken | None = None,
    cache_bytes: int = 2**30,
) -> list[list[int]]:
    """The new tokens of each prompt, a stop token at the end included.

    As many prompts go through the model together as a cache of `cache_bytes` can hold (at least one); which ones share
    a pass changes no draw. Arguments and errors are those of `stream_tokens`.
    """
    _check_length(max_new_tokens)
    check_prompts(model, prompts)
    seeds = row_seeds(prompts, sampling.seed)
    results: list[list[int]] = [[] for _ in prompts]
    together = max(1, cache_bytes // _row_bytes(model, prompts, max_new_tokens)) if prompts else 1
    for first in range(0, len(prompts), together):

        def tell(row: int, token: int, first: int = first) -> bool | None:
            results[first + row].append(token)
            return None if on_token is None else on_token(first + row, token)

        group = slice(first, first + together)
        steps = stream_tokens(
            model,
            prompts[group],
            sampling=sampling,
            max_new_tokens=max_new_tokens,
            stop_tokens=stop_tokens,
            vocabulary=vocabulary,
            seeds=seeds[group],
            on_token=tell,
        )
        for _ in steps:
            pass
    return results


def _steps(
    model: GPT,
    rows: list[_Row],
    sampling: Sampling,
    max_new_tokens: int,
    stop_tokens: frozenset[int],
    vocabulary: int | None,
    on_token: OnToken | None,
) -> Iterator[list[tuple[int, int]]]:
    if not rows or not max_new_tokens:
        return
    capacity = min(model.config.context, max(len(row.history) for row in rows) + max_new_tokens)
    cache, logits = prefill(model, [row.history for row in rows], capacity=capacity)
    for step in range(max_new_tokens):
        made = _choose_for(rows, logits[:, :vocabulary], sampling, step)
        going = []
        for place, (number, token) in enumerate(made):
            told_to_end = on_token is not None and on_token(number, token) is True
            if token not in stop_tokens and not told_to_end:
                going.append(place)
        yield made
        if not going or step + 1 == max_new_tokens:
            return
        if len(going) < len(rows):
            rows = [rows[place] for place in going]
            cache.reorder(going)
        _slide(model, cache, rows)
        logits = next_logits(model, cache, [row.history[-1] for row in rows])


def _choose_for(rows: list[_Row], logits: Tensor, sampling: Sampling, step: int) -> list[tuple[int, int]]:
    uniforms = [uniform(row.seed, step) if sampling.temperature else 0.5 for row in rows]
    tokens = choose(logits, sampling, histories=[row.history for row in rows], uniforms=uniforms)
    for row, token in zip(rows, tokens, strict=True):
        row.history.append(token)
    return [(row.number, token) for row, token in zip(rows, tokens, strict=True)]


def _slide(model: GPT, cache: Cache, rows: list[_Row]) -> None:
    """Make room in the rows whose cache is full, before their newest token is fed."""
    full = [place for place, length in enumerate(cache.lengths) if length >= model.config.context]
    if not full:
        return
    kept = max(model.config.context // 2 - 1, 0)
    cache.cut([0 if place in full else length for place, length in enumerate(cache.lengths)])
    if kept:
        ends = [rows[place].history[-kept - 1 : -1] for place in full]
        fresh, _ = prefill(model, ends, capacity=cache.capacity)
        cache.replace(full, fresh)


def _check_length(max_new_tokens: int) -> None:
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens {max_new_tokens} is below 0; type how many tokens to write, such as 50.")


def _row_bytes(model: GPT, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> int:
    """Bytes of one row's keys and values."""
    held = min(model.config.context, max(map(len, prompts)) + max_new_tokens)
    return 2 * model.config.layers * held * model.config.width * model.token_embedding.weight.element_size()
