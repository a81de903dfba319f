"""From what a user types to a scorer."""

from __future__ import annotations

from typing import Literal

from ensue.evaluate.local import LocalScorer
from ensue.evaluate.scorer import Scorer
from ensue.generate.load import load


def open_scorer(model: str, *, device: str = "auto", dtype: Literal["fp32", "bf16"] = "fp32") -> Scorer:
    """A run, a checkpoint, a Hugging Face folder or a Hub name, loaded to be asked."""
    return LocalScorer(load(model, device=device, dtype=dtype))
