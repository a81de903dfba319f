"""What a model would be shown, without training: rows with their marks visible, lengths, cuts, and the balance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from ensue.generate.load import load
from ensue.recipes.display import Display
from ensue.recipes.finetuning.config import FineTuneConfig
from ensue.recipes.finetuning.instruct_dry_run import instruct_dry_run
from ensue.recipes.finetuning.task_work import balance, labelled_for
from ensue.tokens.examples import Example, ExampleStream
from ensue.tokens.task_shapes import TaskShape
from ensue.tokens.tokenizer import Tokenizer

EXAMPLES = 3


def dry_run(config: FineTuneConfig, *, display: Display) -> None:
    """Show it. Raises ValueError as a run would."""
    if config.task == "instruct":
        instruct_dry_run(config, display=display)
        return
    lm = load(config.model, device="cpu")
    labelled = labelled_for(config, lm)
    shape, train, valid = labelled.shape, labelled.train, labelled.valid
    for example in train.examples[:EXAMPLES]:
        display.heading(example.source)
        for row in example.rows:
            display.say(f"  {visible(row, shape, lm.tokenizer)}  ({len(row)} tokens)")
        display.say(f"  answer: {told_answer(example, shape)}")
    lengths = np.array([len(row) for example in train.examples for row in example.rows])
    fed = ExampleStream(
        train.examples,
        batch=min(config.batch, len(train.examples)),
        micro_tokens=config.micro_tokens,
        seed=config.seed,
    )
    display.heading("all of it")
    display.say(f"{len(train.examples):,} examples to train on, {len(valid.examples) if valid else 0:,} to validate on")
    display.say(f"answers: {balance(labelled)}")
    display.say(
        f"rows of {lengths.min()} to {lengths.max()} tokens, half of them at most {int(np.median(lengths))}; "
        f"{100 * fed.padding():.1f}% of what is fed would be padding"
    )
    cut = train.cut + (valid.cut if valid else 0)
    display.say(f"{cut:,} texts are longer than {shape.limit} tokens and are cut there")
    display.say("nothing was trained; leave --dry-run out to train")


def visible(row: np.ndarray, shape: TaskShape, tokenizer: Tokenizer) -> str:
    """A row as text, its marks between angle brackets."""
    names = {token: f"<{name}>" for name, token in asdict(shape.marks).items()}
    pieces: list[str] = []
    held: list[int] = []
    for token in [*row.tolist(), None]:
        if token is not None and token not in names:
            held.append(token)
            continue
        if held:
            pieces.append(tokenizer.decode(held))
            held = []
        if token is not None:
            pieces.append(names[token])
    return " ".join(pieces)


def told_answer(example: Example, shape: TaskShape) -> str:
    """What is right, in the words of the table."""
    if shape.scale is not None:
        shares: Sequence[float] = example.answer.tolist()
        whole = [f"{shape.scale.low + place}: {share:.2f}" for place, share in enumerate(shares) if share]
        return f"{example.score:g} (classes {', '.join(whole)})"
    place = int(example.answer.argmax())
    return shape.labels[place] if shape.labels else f"{place} (choices are counted from 0)"
