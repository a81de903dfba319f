"""Reading what a completions server says of the tokens of a prompt that it echoes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ensue.tokens.tokenizer import Tokenizer

UNCLEAR = ("�", "bytes:")
"""What servers write for a token that is a part of a character; its length says nothing."""

BY_ID = "token_id:"
"""How vLLM names tokens where it is asked for ids instead of text."""


@dataclass(frozen=True)
class Echo:
    """A prompt's tokens as the server has them; what it wrote after them is cut off.

    tokens   as text, in the server's way of writing
    nats     ln p of each; None for the first, which nothing stands before
    best     ln p of the likeliest token at each place; None for the first
    offsets  where each begins in the text, by the server's count
    added    tokens at the beginning that the server put before what was sent
    """

    tokens: tuple[str, ...]
    nats: tuple[float | None, ...]
    best: tuple[float | None, ...]
    offsets: tuple[int, ...]
    added: int = 0

    def scored(self, place: int) -> tuple[tuple[str, ...], tuple[float, ...], bool]:
        """Tokens and nats from `place` on, and whether each was the likeliest. Raises ValueError where one is none."""
        for where in range(place, len(self.nats)):
            if not _is_number(self.nats[where]):
                raise ValueError(
                    f"the log-probability of token {where} ({self.tokens[where]!r}) is {self.nats[where]}, no number."
                    + ("" if where else " Nothing stands before it: give the tokenizer's folder, for the end token.")
                )
        nats = tuple(value for value in self.nats[place:] if value is not None)
        return self.tokens[place:], nats, all(map(_was_best, nats, self.best[place:]))


def read_echo(answer: Mapping[str, Any], *, sent: int | None, new: int) -> Echo:
    """The echoed prompt of an answer. `sent` is how many token ids were sent, None where text was; `new` how many
    tokens the server was to write after them at most.

    Raises ValueError, naming what was returned, where there are no log-probabilities of the prompt.
    """
    record = _record(answer)
    nats = record["token_logprobs"]
    count = _prompt_tokens(answer, len(nats), sent, new)
    if sent is not None and count < sent:
        raise ValueError(
            f"the server returned {len(nats)} log-probabilities for a prompt of {sent} tokens. It seems to ignore "
            "`echo`; evaluating needs one that returns those of the prompt (vLLM and SGLang do)."
        )
    tokens = [str(token) for token in record.get("tokens") or [""] * len(nats)]
    best = [_best(top) for top in record.get("top_logprobs") or [None] * len(nats)]
    offsets = record.get("text_offset") or _offsets(tokens)
    if not len(tokens) == len(best) == len(offsets) == len(nats):
        raise ValueError(
            f"the server's lists differ in length: {len(tokens)} tokens, {len(nats)} log-probabilities, {len(best)} "
            f"top_logprobs, {len(offsets)} offsets. It answers what cannot be read."
        )
    return Echo(
        tuple(tokens[:count]),
        tuple(nats[:count]),
        tuple(best[:count]),
        tuple(offsets[:count]),
        added=0 if sent is None else count - sent,
    )


def place_in_text(echo: Echo, text: str, character: int) -> int | None:
    """The first token that is not wholly before `character` of the sent text; None where the offsets are not right.

    They are right if each token that can be read stands in the text where its offset says. A first token that is not
    of the text, as servers add one, is passed over.
    """
    for lead in (0, 1):
        tokens = echo.tokens[lead:]
        if not tokens or not _clear(tokens[0]):
            continue
        starts = [start - echo.offsets[lead] for start in echo.offsets[lead:]]
        ends = [*starts[1:], len(text)]
        if ends == sorted(ends) and all(
            text.startswith(token, start) and (start + len(token) == end or not _clear(following))
            for token, following, start, end in zip(tokens, [*tokens[1:], "end"], starts, ends, strict=True)
            if _clear(token)
        ):
            places = (
                place
                for place, (start, end) in enumerate(zip(starts, ends, strict=True))
                if start >= character or end > character
            )
            return lead + next(places, len(tokens))
    return None


def written_text(answer: Mapping[str, Any]) -> str:
    """The text of an answer. Raises ValueError, naming what was returned, where there is none."""
    text = _choice(answer).get("text")
    if not isinstance(text, str):
        raise ValueError(f"the server's choice has no text; it holds {', '.join(_choice(answer))}.")
    return text


def common_beginning(one: Sequence[str], other: Sequence[str]) -> int:
    """How many tokens two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def check_tokens(tokenizer: Tokenizer, ids: Sequence[int], echo: Echo) -> None:
    """Refuse answers of a model with another tokenizer, to which these ids mean something else."""
    readable = []
    for token, theirs in zip(ids, echo.tokens[echo.added :], strict=True):
        ours = tokenizer.decode([token]).strip()
        if theirs.startswith(BY_ID):
            readable.append((f"{BY_ID}{token}", theirs))
        elif ours.isascii() and ours.isalnum() and theirs:
            readable.append((ours, theirs.strip(" Ġ▁")))
    other = [pair for pair in readable if pair[0] != pair[1]]
    if len(other) * 2 > len(readable):
        ours, theirs = other[0]
        raise ValueError(
            f"the server reads as {theirs!r} the token that is {ours!r} in the given tokenizer: it is not "
            "this model's. Give the folder of the model's own tokenizer, or none."
        )


def _choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError(f"the server's answer has no choices; it holds {', '.join(answer) or 'nothing'}.")
    return choices[0]


def _record(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    choice = _choice(answer)
    record = choice.get("logprobs")
    nats = record.get("token_logprobs") if isinstance(record, dict) else None
    if not isinstance(nats, list) or not all(value is None or isinstance(value, int | float) for value in nats):
        held = f"logprobs with {', '.join(record)}" if isinstance(record, dict) else f"logprobs {record!r}"
        raise ValueError(
            f"the server returned no log-probabilities: its choice holds {', '.join(choice)}, {held}. Evaluating "
            "needs a completions server that answers `echo` with `logprobs`, as vLLM and SGLang do."
        )
    assert isinstance(record, dict)
    return record


def _prompt_tokens(answer: Mapping[str, Any], entries: int, sent: int | None, new: int) -> int:
    """How many of the entries are the prompt's: as the server counts, or all but the new ones."""
    usage = answer.get("usage")
    told = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if isinstance(told, int) and max(sent or 1, entries - new) <= told <= entries:
        return told
    if sent is not None and entries - new <= sent <= entries:
        return sent
    return max(entries - new, 0)


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _was_best(value: float, best: float | None) -> bool:
    """Whether a token was the likeliest, as every one with more than half of the probability is."""
    if best is not None:
        return value >= best
    if value > math.log(0.5):
        return True
    raise ValueError(
        "the server returned no top_logprobs, so that it is not known which token is the likeliest; evaluating needs "
        "one that answers `logprobs`: 1 with them."
    )


def _best(top: Any) -> float | None:
    """The highest log-probability of a mapping, or of a list of entries as some servers write it."""
    if isinstance(top, dict) and top:
        return max(map(float, top.values()))
    return None


def _offsets(tokens: Sequence[str]) -> list[int]:
    starts = [0]
    for token in tokens:
        starts.append(starts[-1] + len(token))
    return starts[:-1]


def _clear(token: str) -> bool:
    return bool(token) and not any(mark in token for mark in UNCLEAR)
