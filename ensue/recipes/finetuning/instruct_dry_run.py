"""Conversations as a model would be shown them, without training: what is scored, lengths, and cuts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from rich.text import Text

from ensue.generate.load import load
from ensue.recipes.display import Display
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.instruct_work import talks_for
from ensue.tokens.conversation_rows import Cuts
from ensue.tokens.conversation_stream import ConversationStream
from ensue.tokens.examples import Example
from ensue.tokens.tokenizer import Tokenizer

EXAMPLES = 3
OPEN, CLOSE = "⟦", "⟧"
"""Around what is scored."""


def instruct_dry_run(config: FineTuneConfig, *, display: Display) -> None:
    """Show it. Raises ValueError as a run would."""
    lm = load(config.model, device="cpu")
    talks = talks_for(config, lm)
    train, valid = talks.train, talks.valid
    for example in train.examples[:EXAMPLES]:
        display.heading(example.source)
        display.console.print(scored_text(example, lm.tokenizer), soft_wrap=True)
        display.say(f"({example.length} tokens, {int(example.answer.sum())} of them scored)", "dim")
    lengths = np.array([example.length for example in train.examples])
    stream = ConversationStream(
        train.examples,
        batch=min(config.batch, len(train.examples)),
        micro_tokens=config.micro_tokens,
        seed=config.seed,
    )
    display.heading("all of it")
    display.say(
        f"{len(train.examples):,} conversations to train on, {len(valid.examples) if valid else 0:,} to validate on"
    )
    template = "the model's own" if lm.template is not None else "roles in plain words, which is saved with the model"
    display.say(f"template: {template}")
    display.say(
        f"{lengths.min()} to {lengths.max()} tokens, half of them at most {int(np.median(lengths))}; "
        f"{100 * train.scored / lengths.sum():.0f}% of all are scored; "
        f"{100 * stream.padding():.1f}% of what is fed would be padding"
    )
    cuts = str(train.cuts + (valid.cuts if valid else Cuts()))
    display.say(cuts or f"all have at most the model's {lm.config.context:,} tokens, so none is cut")
    display.say("nothing was trained; leave --dry-run out to train")


def scored_text(example: Example, tokenizer: Tokenizer) -> Text:
    """A conversation as text, what is scored of it between brackets, and green on a terminal."""
    ids, scored = example.rows[0], example.answer > 0
    edges = [0, *(np.flatnonzero(np.diff(scored)) + 1).tolist(), len(ids)]
    shown = Text()
    for low, high in pairwise(edges):
        text = tokenizer.decode(ids[low:high].tolist())
        shown.append(f"{OPEN}{text}{CLOSE}" if scored[low] else text, style="green" if scored[low] else "")
    return shown
