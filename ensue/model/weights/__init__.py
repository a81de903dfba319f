"""Weights in and out: model folders in Hugging Face's layout, and the original GPT release's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ensue.model.weights.config_json import load_config

if TYPE_CHECKING:
    from ensue.model.gpt import GPT

__all__ = ["load_config", "load_model", "save_model"]


def save_model(model: GPT, folder: Path, *, end_token: int | None = None) -> None:
    """`ensue.model.weights.huggingface.save_model`; torch is not imported before it is called."""
    from ensue.model.weights import huggingface

    huggingface.save_model(model, folder, end_token=end_token)


def load_model(folder: Path) -> GPT:
    """`ensue.model.weights.huggingface.load_model`; torch is not imported before it is called."""
    from ensue.model.weights import huggingface

    return huggingface.load_model(folder)
