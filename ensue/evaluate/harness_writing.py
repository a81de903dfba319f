"""Free text as lm-evaluation-harness asks for it: its settings, by the names that its tasks give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ensue.evaluate.local_writing import write
from ensue.evaluate.scorer import Decoding, Prompt
from ensue.generate.lm import LM

MOST = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of how much is written at most; the first that is given counts."""

KNOWN = frozenset({"until", "do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "num_beams", *MOST})


def written(lm: LM, prompts: Sequence[str], settings: Mapping[str, Any], *, most: int) -> list[str]:
    """What ensues after each prompt, before any of the strings `until`; `most` tokens where the settings do not say.

    Greedy unless `do_sample` is true or, without it, a temperature above 0 is given. A prompt too long keeps its end.
    Raises ValueError for a setting that is not known.
    """
    unknown = sorted(set(settings) - KNOWN)
    if unknown:
        raise ValueError(
            f"an Ensue model does not know the generation setting {', '.join(unknown)}; it knows "
            f"{', '.join(sorted(KNOWN))}. Change the task's generation_kwargs."
        )
    until = settings.get("until") or []
    stop = tuple(text for text in ([until] if isinstance(until, str) else until) if text)
    length = int(next((settings[name] for name in MOST if settings.get(name) is not None), most))
    temperature = float(settings.get("temperature") or 0.0)
    drawn = settings.get("do_sample", temperature > 0)
    penalty = float(settings.get("repetition_penalty") or 1.0)
    if drawn or penalty != 1:
        return lm.generate(
            list(prompts),
            max_new_tokens=length,
            temperature=(temperature or 1.0) if drawn else 0.0,
            top_k=settings.get("top_k") or None,
            top_p=settings.get("top_p"),
            repetition_penalty=penalty,
            stop=stop,
            truncate=True,
        )
    beams = int(settings.get("num_beams") or 1)
    decoding = Decoding("beam" if beams > 1 else "greedy", length, stop, width=beams)
    return write(lm, [Prompt(text, decoding) for text in prompts])
