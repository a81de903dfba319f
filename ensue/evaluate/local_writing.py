"""Free text from a model in this process: greedy and sampled rows in batches, searches one by one."""

from __future__ import annotations

from collections.abc import Sequence

from ensue.core.seeds import seed_for
from ensue.evaluate.scorer import Decoding, OnDone, Prompt, room_for_prompt
from ensue.generate.beam import beam_search
from ensue.generate.continuation import Continuation
from ensue.generate.decode import stream_tokens
from ensue.generate.lm import LM
from ensue.generate.settings import Sampling
from ensue.generate.words import likeliest_word

CACHE_BYTES = 2**30
"""Of keys and values, for the rows that are written together."""


def write(lm: LM, prompts: Sequence[Prompt], on_done: OnDone | None = None) -> list[str]:
    """What ensues after each prompt, up to its stop strings, the end token or the most tokens.

    A prompt keeps its last tokens where it and what is to be written do not fit the window together. What is written
    depends on the prompt, its decoding and its seed alone.
    """
    starts = [_fitting(lm, prompt) for prompt in prompts]
    written = [""] * len(prompts)
    done = on_done or (lambda _: None)
    for decoding in dict.fromkeys(prompt.decoding for prompt in prompts):
        places = [place for place, prompt in enumerate(prompts) if prompt.decoding == decoding]
        if decoding.kind == "beam":
            for place in places:
                written[place] = _search(lm, starts[place], decoding)
                done(1)
            continue
        if decoding.kind == "word":
            for place in places:
                written[place] = likeliest_word(lm, starts[place], avoid=set(decoding.avoid), most=_most(lm, decoding))
                done(1)
            continue
        places.sort(key=lambda place: len(starts[place]))
        together = _rows_at_once(lm)
        for first in range(0, len(places), together):
            group = places[first : first + together]
            texts = _rows(lm, [starts[place] for place in group], decoding, [prompts[place].seed for place in group])
            for place, text in zip(group, texts, strict=True):
                written[place] = text
            done(len(group))
    return written


def _fitting(lm: LM, prompt: Prompt) -> list[int]:
    tokens = lm.tokenizer.encode(prompt.text) or [lm.tokenizer.end]
    return tokens[-room_for_prompt(lm.config.context, prompt.decoding) :]


def _most(lm: LM, decoding: Decoding) -> int:
    return lm.config.context - room_for_prompt(lm.config.context, decoding)


def _rows_at_once(lm: LM) -> int:
    config = lm.config
    row = 2 * config.layers * config.context * config.width * lm.model.token_embedding.weight.element_size()
    return max(1, CACHE_BYTES // row)


def _rows(lm: LM, starts: Sequence[Sequence[int]], decoding: Decoding, seeds: Sequence[int]) -> list[str]:
    texts = [Continuation(lm.tokenizer, decoding.stop) for _ in starts]
    pieces: list[list[str]] = [[] for _ in starts]

    def read(row: int, token: int) -> bool:
        if token != lm.tokenizer.end:
            pieces[row].append(texts[row].feed(token))
        return texts[row].stopped

    drawn = decoding.kind == "sample"
    steps = stream_tokens(
        lm.model,
        starts,
        sampling=Sampling(1.0, decoding.top_k, decoding.top_p) if drawn else Sampling(),
        max_new_tokens=_most(lm, decoding),
        stop_tokens=frozenset({lm.tokenizer.end}),
        vocabulary=lm.tokenizer.vocab_size,
        seeds=[seed_for(seed, "prompt") for seed in seeds],
        on_token=read,
    )
    for _ in steps:
        pass
    return ["".join(parts) + text.finish() for parts, text in zip(pieces, texts, strict=True)]


def _search(lm: LM, start: Sequence[int], decoding: Decoding) -> str:
    best = beam_search(
        lm.model,
        start,
        max_new_tokens=_most(lm, decoding),
        width=decoding.width,
        length_penalty=decoding.alpha,
        stop_tokens=frozenset({lm.tokenizer.end}),
        vocabulary=lm.tokenizer.vocab_size,
        ended=lambda tokens: any(stop in lm.tokenizer.decode(tokens) for stop in decoding.stop),
    )[0]
    text = Continuation(lm.tokenizer, decoding.stop)
    return "".join(text.feed(token) for token in best.tokens if token != lm.tokenizer.end) + text.finish()
