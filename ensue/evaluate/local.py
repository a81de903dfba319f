"""A model in this process as a scorer."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ensue.core.files import sha256_of
from ensue.evaluate.local_writing import write
from ensue.evaluate.scorer import OnDone, Prompt, Request, Scored, Unscorable
from ensue.generate.boundary import split_boundary
from ensue.generate.lm import LM
from ensue.generate.score import Pair, score_tokens

WEIGHTS = (".safetensors", ".bin", ".npy")
PAIR = re.compile(r"pair (\d+): (.*)", re.DOTALL)
"""How `score_tokens` names what it cannot score."""


@dataclass(frozen=True)
class LocalScorer:
    """The three primitives over `ensue.load(...)`; `at_once` and the sizes of passes change no answer.

    A context that does not fit keeps its last tokens; so does a continuation longer than the window, whose first tokens
    are then not scored at all. Both are told in the answer.
    """

    lm: LM
    at_once: int = 128
    pass_tokens: int | None = None

    def identity(self) -> Mapping[str, str]:
        """The folder, SHA-256 of its weights (of one file, or of all files' sums), the tokenizer's fingerprint."""
        parameter = self.lm.model.token_embedding.weight
        return {
            "path": str(self.lm.path),
            "weights": self._weights,
            "tokenizer": self.lm.tokenizer.fingerprint,
            "precision": str(parameter.dtype).removeprefix("torch."),
            "device": parameter.device.type,
        }

    def window(self) -> int:
        return self.lm.config.context

    def count(self, text: str) -> int:
        return len(self.lm.tokenizer.encode(text))

    def loglikelihood(self, requests: Sequence[Request], on_done: OnDone | None = None) -> list[Scored]:
        pairs = []
        for number, request in enumerate(requests):
            try:
                pairs.append(split_boundary(self.lm.tokenizer, request.context, request.continuation))
            except ValueError as error:
                raise ValueError(f"request {number} ({_short(request.context)}): {error}") from error
        names = [_short(request.context + request.continuation) for request in requests]
        return self._scored(pairs, names, on_done)

    def rolling(
        self, texts: Sequence[str], *, stride: int | None = None, on_done: OnDone | None = None
    ) -> list[Scored]:
        window = self.lm.config.context
        step = window if stride is None else stride
        if not 1 <= step <= window:
            raise ValueError(f"a stride of {step} is not between 1 and this model's context of {window:,}.")
        scored = []
        for place, text in enumerate(texts):
            tokens = [self.lm.tokenizer.end, *self.lm.tokenizer.encode(text)]
            windows = _windows(tokens, window, step)
            try:
                pieces = self._scored(windows, [_short(text)] * len(windows), None)
            except Unscorable as error:
                raise Unscorable(str(error), place) from error
            scored.append(
                Scored(
                    tokens=tuple(token for piece in pieces for token in piece.tokens),
                    token_nats=tuple(nats for piece in pieces for nats in piece.token_nats),
                    greedy=all(piece.greedy for piece in pieces),
                )
            )
            if on_done is not None:
                on_done(1)
        return scored

    def generate(self, prompts: Sequence[Prompt], on_done: OnDone | None = None) -> list[str]:
        return write(self.lm, prompts, on_done)

    def _scored(self, pairs: Sequence[Pair], names: Sequence[str], on_done: OnDone | None) -> list[Scored]:
        window = self.lm.config.context
        kept = [(context, continuation[-window:]) for context, continuation in pairs]
        # A cut continuation is foretold from the token before what is left of it.
        kept = [
            ([whole[-window - 1]], rest) if len(rest) < len(whole) else (context, rest)
            for (context, rest), (_, whole) in zip(kept, pairs, strict=True)
        ]
        try:
            answers = score_tokens(self.lm.model, kept, batch_tokens=self.pass_tokens, on_done=on_done)
        except ValueError as error:
            named = PAIR.fullmatch(str(error))
            if named is None:
                raise
            place = int(named[1])
            raise Unscorable(f"{names[place]!r}: {named[2]}", place) from error
        endless = [place for place, answer in enumerate(answers) if not all(map(math.isfinite, answer.nats))]
        if endless:
            raise Unscorable(
                f"{names[endless[0]]!r}: its probability is 0; the model's weights are damaged.", endless[0]
            )
        return [
            Scored(
                tokens=tuple(map(self._text, rest)),
                token_nats=tuple(answer.nats),
                greedy=all(answer.greedy),
                cut=min(len(context), max(0, len(context) + len(whole) - window - 1)),
                unscored=len(whole) - len(rest),
            )
            for (context, whole), (_, rest), answer in zip(pairs, kept, answers, strict=True)
        ]

    def _text(self, token: int) -> str:
        return self.lm.tokenizer.token_bytes(token).decode("utf-8", "backslashreplace")

    @cached_property
    def _weights(self) -> str:
        files = sorted(path for path in self.lm.path.iterdir() if path.suffix in WEIGHTS)
        sums = [sha256_of(path) for path in files]
        return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def _windows(tokens: Sequence[int], window: int, step: int) -> list[Pair]:
    """Pairs that score each token after the first once: a whole window first, then `step` at a time after what fits."""
    pairs: list[Pair] = []
    start = 1
    while start < len(tokens):
        stop = min(len(tokens), start + (window if start == 1 else step))
        pairs.append((tokens[max(0, stop - window - 1) : start], tokens[start:stop]))
        start = stop
    return pairs


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"...{text[-80:]}"
