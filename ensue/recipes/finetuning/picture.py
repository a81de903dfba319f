"""The picture of a fine-tuning run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOSS = "val_loss"


def draw_tuning(rows: Sequence[dict[str, Any]], target: Path, *, title: str) -> None:
    """Loss (every step faint, its running mean, the readings) beside what validation measures, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    trained = [row for row in rows if row.get("loss") is not None]
    read = [row for row in rows if LOSS in row]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), dpi=120)
    steps = [row["step"] for row in trained]
    whole = [row["loss"] for row in trained]
    left.plot(steps, whole, color="#9bb7d4", linewidth=0.6, alpha=0.7)
    left.plot(steps, _running_mean(whole, 0.95), color="#1f4e79", linewidth=1.8, label="training, all of it")
    if trained and "task" in trained[0]:
        task = [row["task"] for row in trained]
        left.plot(steps, _running_mean(task, 0.95), color="#7f7f7f", linewidth=1.4, label="training, the task's part")
    if read:
        left.plot(
            [row["step"] for row in read],
            [row[LOSS] for row in read],
            "o-",
            color="#c0504d",
            label="validation, the task",
        )
    left.set(xlabel="step", ylabel="nats", title=title)
    names = [name for name in (read[-1] if read else {}) if name.startswith("val_") and name != LOSS]
    for name in names:
        there = [row for row in read if name in row]
        right.plot([row["step"] for row in there], [row[name] for row in there], "o-", label=name.removeprefix("val_"))
    right.set(xlabel="step", title="validation" if names else "nothing was validated")
    for axes in (left, right):
        axes.grid(alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
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
