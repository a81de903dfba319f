"""Where the context ends and the continuation begins, in tokens."""

from __future__ import annotations

from ensue.tokens.tokenizer import Tokenizer


def split_boundary(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Token ids of a context and of what follows it.

    Space at the context's end moves to the continuation, since tokenizers join a space to the word after it. Then the
    two are encoded together; if the context's own ids begin that, the rest is the continuation, as for
    lm-evaluation-harness. If they do not (a token would span the boundary), each is encoded alone; there the harness
    drops as many ids from the front as the context alone has, so that the two it scores may not be the text's. A
    context without tokens is the end token. Raises ValueError for an empty continuation.
    """
    if not continuation:
        raise ValueError("the continuation is empty, so there is nothing to score; give it some text.")
    kept = context.rstrip()
    continuation = context[len(kept) :] + continuation
    before = tokenizer.encode(kept)
    together = tokenizer.encode(kept + continuation)
    agree = together[: len(before)] == before and len(together) > len(before)
    after = together[len(before) :] if agree else tokenizer.encode(continuation)
    if not after:
        raise ValueError(
            f"the continuation {continuation!r} has no tokens, so there is nothing to score; give it words."
        )
    return before or [tokenizer.end], after
