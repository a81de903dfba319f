"""What a fine-tuning ablation was asked for; its folder keeps to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.core.config import to_dict
from ensue.core.files import write_file_aside

RECORD = "study.json"


@dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """`texts` to pre-train on; the shape of both models, GPT's parts (2018); `steps` of `batch` sequences for each, at
    the same peak rate `lr`.

    Neither pre-training nor tuning has dropout unless said, where GPT's had 0.1: a small model that sees its text a few
    times underfits it, and on a CPU dropout takes half of the time. Tuning has the paper's epochs and batch; validation
    rows choose one of `rates`. The limits are rows a set.
    """

    texts: tuple[str, ...]
    layers: int = 4
    width: int = 256
    heads: int = 4
    context: int = 256
    vocab: int = 4096
    steps: int = 4000
    batch: int = 16
    lr: float = 1e-3
    rates: tuple[float, ...] = (3e-4, 1e-3)
    epochs: int = 3
    tune_batch: int = 32
    dropout: float = 0.0
    train_limit: int | None = 1500
    test_limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("layers", "steps", "batch", "epochs", "tune_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        if not self.rates or min(self.rates) <= 0:
            raise ValueError("--rates needs at least one learning rate above 0, such as --rates 3e-4.")


def keep_settings(settings: AblationSettings, out: Path) -> None:
    """Write what was asked for into the study's folder. Raises ValueError where it was begun with something else."""
    record: dict[str, Any] = json.loads(json.dumps(to_dict(settings)))
    path = out / RECORD
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in record if kept.get(name) != record[name]]
        if changed:
            name = changed[0]
            raise ValueError(
                f"{out} was begun with {name} {kept.get(name)}, and {record[name]} is asked for now; give the same as "
                "before, or another --out."
            )
        return
    write_file_aside(path, json.dumps(record, indent=1) + "\n")


def steps_of(out: Path) -> int | None:
    """The steps of pre-training that a study was begun with, None where there is none yet."""
    path = out / RECORD
    return int(json.loads(path.read_text(encoding="utf-8"))["steps"]) if path.is_file() else None
