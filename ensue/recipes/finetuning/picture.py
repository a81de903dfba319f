"""The picture of a fine-tuning run: each part of its loss beside what validation measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOSS = "val_loss"
PARTS = {"task": "the task", "language_model": "the text's own loss"}
"""Parts of a loss that are drawn apart, since one would hide the other."""


def draw_tuning(rows: Sequence[dict[str, Any]], target: Path, *, title: str) -> None:
    """Loss (every step faint, its running mean, the readings) and measures, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    trained = [row for row in rows if row.get("loss") is not None]
    read = [row for row in rows if LOSS in row]
    names = {name: label for name, label in PARTS.items() if trained and name in trained[0]} or {"loss": "loss"}
    measures = [name for name in (read[-1] if read else {}) if name.startswith("val_") and name != LOSS]
    count = len(names) + bool(measures)
    figure, panels = pyplot.subplots(1, count, figsize=(4.6 * count, 4.2), dpi=120, squeeze=False)
    for place, (name, label) in enumerate(names.items()):
        axes = panels[0, place]
        values = [row[name] for row in trained]
        steps = [row["step"] for row in trained]
        axes.plot(steps, values, color="#9bb7d4", linewidth=0.6, alpha=0.7)
        axes.plot(steps, _running_mean(values, 0.95), color="#1f4e79", linewidth=1.8, label="training (running mean)")
        if place == 0 and read:
            found = [row[LOSS] for row in read]
            axes.plot([row["step"] for row in read], found, "o-", color="#c0504d", label="validation")
        axes.set(xlabel="step", ylabel="nats", title=f"{title}: {label}")
    for name in measures:
        there = [row for row in read if name in row]
        found = [row[name] for row in there]
        panels[0, -1].plot([row["step"] for row in there], found, "o-", label=name.removeprefix("val_"))
        panels[0, -1].set(xlabel="step", title="validation")
    for axes in panels[0]:
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)
    pyplot.close(figure)


def _running_mean(values: Sequence[float], memory: float) -> list[float]:
    means: list[float] = []
    total = 0.0
    for number, value in enumerate(values, start=1):
        total = memory * total + (1 - memory) * value
        means.append(total / (1 - memory**number))
    return means
