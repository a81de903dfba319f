"""What `ensue generate` does: text streamed to the terminal, or JSON for a program."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from ensue.core.device import choose_device
from ensue.generate.continuation import Continuation
from ensue.generate.engine.engine import Engine
from ensue.generate.engine.opening import EngineSettings, context_bytes, open_engine
from ensue.generate.engine.requests import Request
from ensue.generate.lm import LM
from ensue.generate.load import load
from ensue.generate.packed import why_not_packed
from ensue.generate.sampling import row_seeds
from ensue.generate.settings import Sampling

Dtype = Literal["fp32", "bf16", "int8", "int4"]


def open_writer(path: str, *, device: str, dtype: Dtype) -> tuple[LM, Dtype | None]:
    """The model, and in which precision the engine's C++ pass is to run it; None where PyTorch runs it as it is.

    Raises ValueError for int8 and int4 where the pass cannot be had.
    """
    lm = load(path, device=device)
    if dtype == "fp32":
        return lm, None
    place = choose_device(device)
    reason = why_not_packed(lm.config) if place.type == "cpu" else f"the model is on {place}"
    if reason is None:
        return lm, dtype
    if dtype != "bf16":
        raise ValueError(f"{dtype} is not to be had here: {reason}; leave --dtype out, or use bf16.")
    return _in_bf16(lm), None


def write_text(
    lm: LM,
    prompt: str,
    *,
    packed: Dtype | None = None,
    sampling: Sampling,
    max_new_tokens: int,
    beams: int,
    stop: Sequence[str],
    truncate: bool,
    as_json: bool,
) -> None:
    """Print the prompt and what ensues, piece by piece; or one JSON object with the prompt, the text and the time.

    With `packed`, the engine writes in that precision, as long as all fits the context; past it PyTorch goes on in
    fp32, and it searches in bf16. Raises ValueError for int8 and int4 past the context, and for a search in them.
    """
    start = time.perf_counter()
    pieces = _pieces(lm, prompt, packed, sampling, max_new_tokens, beams=beams, stop=stop, truncate=truncate)
    if as_json:
        text = "".join(pieces)
        facts = {"prompt": prompt, "text": text, "seconds": time.perf_counter() - start, "path": str(lm.path)}
        json.dump(facts, sys.stdout, ensure_ascii=False)
    else:
        joint = "" if lm.tokenizer.lossless or not prompt else " "  # GPT's tokenizer strips the space between the two
        print(prompt + joint, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
    print()


def _pieces(
    lm: LM,
    prompt: str,
    packed: Dtype | None,
    sampling: Sampling,
    max_new_tokens: int,
    *,
    beams: int,
    stop: Sequence[str],
    truncate: bool,
) -> Iterator[str]:
    """What ensues, each piece as soon as it is certain; what a search finds is one."""
    asked: dict[str, Any] = {**vars(sampling), "max_new_tokens": max_new_tokens, "stop": stop, "truncate": truncate}
    if beams != 1:
        if packed in ("int8", "int4"):
            raise ValueError("beam search runs in fp32 or bf16; leave --dtype out, or use bf16.")
        searching = lm if packed is None else _in_bf16(lm)
        return iter([searching.generate(prompt, beams=beams, **asked)])
    fits = truncate or len(lm.tokenizer.encode(prompt)) + max_new_tokens <= lm.config.context
    if packed is None or (packed == "bf16" and not fits):
        return lm.stream(prompt, **asked)
    return _by_engine(lm, prompt, sampling, packed, max_new_tokens, stop=stop, truncate=truncate)


def _in_bf16(lm: LM) -> LM:
    return replace(lm, model=lm.model.bfloat16())


def _by_engine(
    lm: LM, prompt: str, sampling: Sampling, dtype: Dtype, max_new_tokens: int, *, stop: Sequence[str], truncate: bool
) -> Iterator[str]:
    tokens = lm.tokenizer.encode(prompt) or [lm.tokenizer.end]
    if truncate:
        tokens = tokens[-max(1, lm.config.context - max_new_tokens) :]
    settings = EngineSettings(dtype, most=1, lookup=True)
    engine = open_engine(lm, replace(settings, cache_bytes=context_bytes(lm.config, settings)))
    (seed,) = row_seeds([tokens], sampling.seed)
    ends = frozenset({lm.tokenizer.end})
    engine.submit(Request(tuple(tokens), max_new_tokens, sampling, seed, stop=ends, scored=False))
    return Continuation(lm.tokenizer, stop).pieces(_written(engine))


def _written(engine: Engine) -> Iterator[int]:
    while engine.going or engine.waiting:
        for event in engine.step():
            yield from (told.token for told in event.new)
