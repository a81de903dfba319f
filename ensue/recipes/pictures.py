"""Pictures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw_loss(rows: Sequence[dict[str, Any]], target: Path, *, title: str) -> None:
    """The loss curve as a PNG: every step faint, its running mean, and the held-out readings, in nats a token."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    steps = [row["step"] for row in rows if "loss" in row]
    losses = [row["loss"] for row in rows if "loss" in row]
    checks = [(row["step"], row["val_loss"]) for row in rows if "val_loss" in row]
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120)
    axes.plot(steps, losses, color="#9bb7d4", linewidth=0.6, alpha=0.7)
    axes.plot(steps, _running_mean(losses, 0.95), color="#1f4e79", linewidth=1.8, label="training (running mean)")
    if checks:
        axes.plot(*zip(*checks, strict=True), "o-", color="#c0504d", markersize=4, linewidth=1.2, label="held out")
    axes.set(xlabel="step", ylabel="nats per token", title=title)
    settled = sorted(losses)[: max(1, int(0.98 * len(losses)))]
    late_checks = [loss for _, loss in checks[len(checks) // 4 :]]
    if settled:
        axes.set_ylim(top=1.05 * max(settled[-1], *late_checks, 0.0))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)
    pyplot.close(figure)


def _running_mean(values: Sequence[float], memory: float) -> list[float]:
    means: list[float] = []
    total = weight = 0.0
    for value in values:
        total = memory * total + (1 - memory) * value
        weight = memory * weight + (1 - memory)
        means.append(total / weight)
    return means
