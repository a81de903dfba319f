"""What `ensue generate` does: text streamed to the terminal, or JSON for a program."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from ensue.generate.lm import LM
from ensue.generate.settings import Sampling


def write_text(
    lm: LM,
    prompt: str,
    *,
    sampling: Sampling,
    max_new_tokens: int,
    beams: int,
    stop: Sequence[str],
    truncate: bool,
    as_json: bool,
) -> None:
    """Print the prompt and what ensues, piece by piece; or one JSON object with the prompt, the text and the time."""
    start = time.perf_counter()
    joint = "" if lm.tokenizer.lossless or not prompt else " "  # GPT's tokenizer strips the space between the two
    if beams == 1 and not as_json:
        print(prompt + joint, end="", flush=True)
        for piece in lm.stream(
            prompt,
            max_new_tokens=max_new_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            repetition_penalty=sampling.repetition_penalty,
            no_repeat_ngram=sampling.no_repeat_ngram,
            seed=sampling.seed,
            stop=stop,
            truncate=truncate,
        ):
            print(piece, end="", flush=True)
        print()
        return
    text = lm.generate(
        prompt,
        max_new_tokens=max_new_tokens,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        no_repeat_ngram=sampling.no_repeat_ngram,
        beams=beams,
        seed=sampling.seed,
        stop=stop,
        truncate=truncate,
    )
    if as_json:
        facts = {"prompt": prompt, "text": text, "seconds": time.perf_counter() - start, "path": str(lm.path)}
        json.dump(facts, sys.stdout, ensure_ascii=False)
        print()
    else:
        print(prompt + joint + text)
