"""Log-probabilities in OpenAI's two forms: lists beside the text of completions, and objects in chats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ensue.generate.engine.requests import Told
from ensue.serve.choice import Placed
from ensue.tokens.stream_decoder import StreamDecoder
from ensue.tokens.tokenizer import Tokenizer


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """A token's text; where it is a part of a character, its bytes as OpenAI writes them: `bytes:\\xe5`."""
    data = tokenizer.token_bytes(token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def place_prompt(tokenizer: Tokenizer, told: Sequence[Told]) -> tuple[list[Placed], int]:
    """Where each of a prompt's tokens begins, and how many characters all of them are."""
    decoder = StreamDecoder(tokenizer)
    placed: list[Placed] = []
    seen = 0
    for each in told:
        placed.append(Placed(each, seen))
        seen += len(decoder.feed(each.token))
    return placed, seen + len(decoder.finish())


def legacy(tokenizer: Tokenizer, placed: Sequence[Placed], *, likeliest: int, start: int = 0) -> dict[str, Any]:
    """`logprobs` of a completion's choice, whose text begins at character `start` of what is answered.

    Beside the `likeliest` tokens of a place stands the one that was taken, if it is not one of them.
    """
    tops = [_top(tokenizer, each.told, likeliest) for each in placed]
    return {
        "tokens": [token_text(tokenizer, each.told.token) for each in placed],
        "token_logprobs": [each.told.nats for each in placed],
        "top_logprobs": tops if likeliest else None,
        "text_offset": [start + each.offset for each in placed],
    }


def chat(tokenizer: Tokenizer, placed: Iterable[Placed]) -> dict[str, Any]:
    """`logprobs` of a chat's choice."""
    content = []
    for told in (each.told for each in placed):
        assert told.nats is not None
        top = [_object(tokenizer, token, nats) for token, nats in told.likeliest if token < tokenizer.vocab_size]
        content.append({**_object(tokenizer, told.token, told.nats), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _top(tokenizer: Tokenizer, told: Told, likeliest: int) -> dict[str, float] | None:
    if told.nats is None:
        return None
    known = [(token, nats) for token, nats in told.likeliest[:likeliest] if token < tokenizer.vocab_size]
    top = {token_text(tokenizer, token): nats for token, nats in reversed(known)}
    top = dict(reversed(top.items()))
    top.setdefault(token_text(tokenizer, told.token), told.nats)
    return top


def _object(tokenizer: Tokenizer, token: int, nats: float) -> dict[str, Any]:
    text = token_text(tokenizer, token)
    return {"token": text, "logprob": nats, "bytes": list(tokenizer.token_bytes(token))}
