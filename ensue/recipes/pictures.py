"""The picture of a run, and what all pictures begin and end with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BLUE, PALE_BLUE, RED = "#1f4e79", "#9bb7d4", "#c0504d"


@contextmanager
def picture(target: Path, *, size: tuple[float, float], lines: int = 1, columns: int = 1) -> Iterator[Any]:
    """Yields (lines, columns) matplotlib axes to draw on; then they are a PNG at `target`, `size` inches large."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(lines, columns, figsize=size, dpi=120, squeeze=False)
    try:
        yield panels
        figure.tight_layout()
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target)
    finally:
        pyplot.close(figure)


def draw_loss(rows: Sequence[dict[str, Any]], target: Path, *, title: str) -> None:
    """The loss curve as a PNG: every step faint, its running mean, and the held-out readings, in nats a token."""
    steps = [row["step"] for row in rows if "loss" in row]
    losses = [row["loss"] for row in rows if "loss" in row]
    checks = [(row["step"], row["val_loss"]) for row in rows if "val_loss" in row]
    settled = sorted(losses)[: max(1, int(0.98 * len(losses)))]
    late_checks = [loss for _, loss in checks[len(checks) // 4 :]]
    with picture(target, size=(8, 4.5)) as [[axes]]:
        draw_training(axes, steps, losses)
        if checks:
            axes.plot(*zip(*checks, strict=True), "o-", color=RED, markersize=4, linewidth=1.2, label="held out")
        axes.set(xlabel="step", ylabel="nats per token", title=title)
        if settled:
            axes.set_ylim(top=1.05 * max(settled[-1], *late_checks, 0.0))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)


def draw_training(axes: Any, steps: Sequence[int], losses: Sequence[float]) -> None:
    """Every step's loss faint, and its running mean."""
    axes.plot(steps, losses, color=PALE_BLUE, linewidth=0.6, alpha=0.7)
    axes.plot(steps, _running_mean(losses, 0.95), color=BLUE, linewidth=1.8, label="training (running mean)")


def _running_mean(values: Sequence[float], memory: float) -> list[float]:
    means: list[float] = []
    total = 0.0
    for number, value in enumerate(values, start=1):
        total = memory * total + (1 - memory) * value
        means.append(total / (1 - memory**number))
    return means
