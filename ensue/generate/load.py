"""`ensue.load`: a run, a checkpoint, a Hugging Face folder, an original release or a Hub name, ready to use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch

from ensue.core.device import choose_device
from ensue.core.files import verify_checksums
from ensue.generate.classify import load_tuned
from ensue.generate.lm import LM
from ensue.generate.resolve import resolve
from ensue.model.weights import load_model
from ensue.model.weights.original_gpt import is_original_gpt, load_original_gpt
from ensue.tokens.conversation import read_template
from ensue.tokens.tokenizer import Tokenizer, load_tokenizer

RECORD = "ensue.json"
"""What a checkpoint says of itself: {"format": 1, "step": ..., "tokenizer": fingerprint}."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load(path: str | Path, *, device: str = "auto", dtype: Literal["fp32", "bf16"] = "fp32") -> LM:
    """The model at `path` (see `resolve` for what it may be) with its tokenizer, ready to generate and score.

    `device` auto is the GPU where there is one. Raises FileNotFoundError where there is nothing at `path`, and
    ValueError, naming the file, for a folder without a model, a file that was truncated or changed, or a tokenizer
    that is not the one the model was trained with.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not known; type one of {', '.join(DTYPES)}.")
    chosen = choose_device(device)
    folder = resolve(path)
    verify_checksums(folder)
    tokenizer = load_tokenizer(folder)
    _check_record(folder / RECORD, tokenizer)
    model = load_original_gpt(folder) if is_original_gpt(folder) else load_model(folder)
    if tokenizer.vocab_size > model.config.vocab:
        raise ValueError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size:,} tokens and the model {model.config.vocab:,}; "
            "they do not belong together. Put the model's own tokenizer files there."
        )
    model = model.to(chosen, DTYPES[dtype]).eval()
    tuned = load_tuned(folder, model)
    if tuned is not None:
        tuned.model.to(chosen, DTYPES[dtype])
    return LM(model, tokenizer, folder, tuned, read_template(folder, tokenizer))


def _check_record(record: Path, tokenizer: Tokenizer) -> None:
    """Refuse a checkpoint whose tokenizer is not the one it was trained with; a foreign folder has no record."""
    if not record.is_file():
        return
    try:
        expected = json.loads(record.read_text(encoding="utf-8"))["tokenizer"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record} is damaged ({error!r}); use another checkpoint of the run.") from error
    if expected != tokenizer.fingerprint:
        raise ValueError(
            f"{record.parent} was trained with another tokenizer: its {record.name} names {expected}, and the "
            f"tokenizer files there are {tokenizer.fingerprint}. Put the run's own tokenizer files back."
        )
