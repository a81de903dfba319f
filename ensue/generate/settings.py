"""How the next token is chosen, as plain values; nothing here needs torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """How one token is chosen from the logits.

    temperature         0 takes the likeliest token (greedy; top_k, top_p and seed then change nothing); 1 samples what
                        the model says; below 1 is safer, above 1 is wilder
    top_k               sample from the k likeliest tokens only; None is all
    top_p               sample from the smallest set of tokens whose probability reaches p only; None is all
    repetition_penalty  divides positive and multiplies negative logits of tokens already there (CTRL, Keskar et al.
                        2019, section 4.1); 1 is none
    no_repeat_ngram     never write the same n tokens in a row twice; 0 is off
    seed                the same seed and prompt give the same text
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(
                f"temperature {self.temperature} is not a number of at least 0; type 0 for the likeliest token each "
                "time, or something like 0.8 to sample."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k} keeps no token; type 1 or more, or leave it out to keep all.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} is not a probability; type more than 0 and at most 1, such as 0.9.")
        if not (math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise ValueError(
                f"repetition_penalty {self.repetition_penalty} is not above 0; type 1 for none, or something like 1.2."
            )
        if self.no_repeat_ngram < 0:
            raise ValueError(f"no_repeat_ngram {self.no_repeat_ngram} is below 0; type 0 for off, or something like 3.")
