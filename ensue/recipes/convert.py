"""Rewriting a model in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from ensue.core.files import folder_aside, verify_checksums
from ensue.generate.resolve import resolve
from ensue.model.gpt import GPT
from ensue.model.weights import load_model, save_model
from ensue.model.weights.original_gpt import is_original_gpt, load_original_gpt, save_original_gpt
from ensue.recipes.data import refuse_existing
from ensue.tokens.tokenizer import Tokenizer, load_tokenizer


def convert(source: str, target: Path, *, to: Literal["huggingface", "original-gpt"], dtype: str) -> str:
    """Write the model of `source` to the folder `target`, with its tokenizer if it has one; return what was done."""
    refuse_existing(target)
    folder = resolve(source)
    verify_checksums(folder)
    model: GPT = load_original_gpt(folder) if is_original_gpt(folder) else load_model(folder)
    tokenizer = _tokenizer_of(folder)
    with folder_aside(target) as aside:
        if to == "original-gpt":
            save_original_gpt(model, aside)
        else:
            end = tokenizer.end if tokenizer is not None else None
            save_model(model.to(torch.bfloat16 if dtype == "bf16" else torch.float32), aside, end_token=end)
        if tokenizer is not None:
            tokenizer.save(aside)
    without = "" if tokenizer is not None else " (there was no tokenizer beside it)"
    return f"{model.config.parameters:,} parameters from {folder} to {target} in the {to} layout{without}"


def _tokenizer_of(folder: Path) -> Tokenizer | None:
    try:
        return load_tokenizer(folder)
    except (ValueError, FileNotFoundError):
        return None
