"""The picture of a fine-tuning run: each part of its loss beside what validation measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ensue.recipes.pictures import RED, draw_training, picture

LOSS = "val_loss"
PARTS = {"task": "the task", "language_model": "the text's own loss"}
"""Parts of a loss that are drawn apart, since one would hide the other."""


def draw_tuning(rows: Sequence[dict[str, Any]], target: Path, *, title: str) -> None:
    """Loss (every step faint, its running mean, the readings) and measures, as a PNG."""
    trained = [row for row in rows if row.get("loss") is not None]
    read = [row for row in rows if LOSS in row]
    names = {name: label for name, label in PARTS.items() if trained and name in trained[0]} or {"loss": "loss"}
    measures = [name for name in (read[-1] if read else {}) if name.startswith("val_") and name != LOSS]
    count = len(names) + bool(measures)
    with picture(target, size=(4.6 * count, 4.2), columns=count) as [panels]:
        for place, (name, label) in enumerate(names.items()):
            axes = panels[place]
            draw_training(axes, [row["step"] for row in trained], [row[name] for row in trained])
            if place == 0 and read:
                found = [row[LOSS] for row in read]
                axes.plot([row["step"] for row in read], found, "o-", color=RED, label="validation")
            axes.set(xlabel="step", ylabel="nats", title=f"{title}: {label}")
        for name in measures:
            there = [row for row in read if name in row]
            found = [row[name] for row in there]
            panels[-1].plot([row["step"] for row in there], found, "o-", label=name.removeprefix("val_"))
            panels[-1].set(xlabel="step", title="validation")
        for axes in panels:
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)
