"""From what a user types to a scorer, or to a finished evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ensue.core.memory import keep_freed_memory
from ensue.evaluate.local import LocalScorer
from ensue.evaluate.paired import Evaluation, is_evaluation, open_evaluation
from ensue.evaluate.scorer import Scorer
from ensue.generate.load import load
from ensue.recipes.display import Display
from ensue.recipes.evaluating.evaluating import Question, evaluate

Precision = Literal["fp32", "bf16"]


def open_scorer(
    model: str,
    *,
    device: str = "auto",
    dtype: Precision = "fp32",
    tokenizer: Path | None = None,
    window: int | None = None,
) -> Scorer:
    """A run, a checkpoint, a Hugging Face folder or a Hub name to be asked, or NAME@URL of a completions server.

    The last has the `tokenizer` and the `window` that are said, or that it tells itself. Raises ValueError for a model
    that is none of these, and for options of the other kind.
    """
    name, at, address = model.partition("@")
    if at and address.startswith(("http://", "https://")):
        from ensue.evaluate.remote import RemoteScorer

        return RemoteScorer(address, name, tokenizer=tokenizer, window=window)
    if model.startswith(("http://", "https://")):
        raise ValueError(f"say by what name the server knows the model: NAME@{model}")
    if tokenizer is not None or window is not None:
        raise ValueError(f"--tokenizer and --window are for models behind a server, NAME@URL; {model} has its own.")
    keep_freed_memory()
    return LocalScorer(load(model, device=device, dtype=dtype))


def evaluation_of(
    name: str,
    question: Question,
    *,
    device: str,
    dtype: Precision,
    tokenizer: Path | None,
    window: int | None,
    display: Display,
) -> Evaluation:
    """The finished evaluation in the folder `name`, or that of the model `name`, which is measured where it was not.

    `tokenizer` and `window` are of a served model; another has its own.
    """
    if is_evaluation(Path(name)):
        return open_evaluation(Path(name))
    if not question.tasks:
        raise ValueError(f"{name} is no finished evaluation; say what to measure it on: --tasks rocstories")
    if "@http" not in name:
        tokenizer = window = None
    scorer = open_scorer(name, device=device, dtype=dtype, tokenizer=tokenizer, window=window)
    folder, told = evaluate(scorer, question, None, display=display)
    return Evaluation(folder, told)
