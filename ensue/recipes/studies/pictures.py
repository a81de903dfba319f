"""Pictures of the fine-tuning ablation: accuracy by layers transferred, and what each difference is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ensue.recipes.pictures import BLUE, RED, picture
from ensue.recipes.studies.conditions import BERT, FULL, NO_PRETRAINING, transferred
from ensue.recipes.studies.findings import SetFindings

GREY = "#7f7f7f"
COLOURS = (BLUE, RED, "#4f8f4f", "#8064a2")


def draw_layers(found: Sequence[SetFindings], layers: int, target: Path) -> None:
    """Test accuracy over how many layers were transferred, with t intervals; dashed, nothing; dotted, BERT's."""
    with picture(target, size=(4.2 * len(found), 3.8), columns=len(found)) as [places]:
        for axes, each in zip(places, found, strict=True):
            cells = {cell.condition.name: cell.over_seeds for cell in each.cells}
            names = [*(transferred(count, layers).name for count in range(layers)), FULL.name]
            points = [(count, cells[name]) for count, name in enumerate(names) if name in cells]
            means = [100 * interval.mean for _, interval in points]
            halves = [100 * (interval.high - interval.mean) for _, interval in points]
            halves = [half if math.isfinite(half) else 0.0 for half in halves]
            counts = [count for count, _ in points]
            axes.errorbar(counts, means, yerr=halves, fmt="o-", color=BLUE, capsize=3, label="GPT, transferred")
            for condition, style, colour in ((NO_PRETRAINING, "--", GREY), (BERT, ":", RED)):
                if condition.name in cells:
                    axes.axhline(100 * cells[condition.name].mean, linestyle=style, color=colour, label=condition.words)
            axes.set(xlabel="layers transferred (0: embeddings alone)", title=each.parts.known.title)
            axes.set_xticks(range(layers + 1))
            axes.grid(alpha=0.25)
        places[0].set_ylabel("test accuracy, %")
        places[-1].legend(frameon=False, fontsize=7)


def draw_differences(found: Sequence[SetFindings], target: Path) -> None:
    """Each comparison's difference in points with its interval, a colour for each set."""
    pairs = list(dict.fromkeys((pair.first, pair.second) for each in found for pair in each.compared))
    with picture(target, size=(9, 1.2 + 0.55 * len(pairs))) as [[axes]]:
        for number, each in enumerate(found):
            shift = (number - (len(found) - 1) / 2) * 0.22
            rows = {(pair.first, pair.second): pair.difference for pair in each.compared}
            there = [(place, rows[pair]) for place, pair in enumerate(pairs) if pair in rows]
            axes.errorbar(
                [100 * interval.mean for _, interval in there],
                [place + shift for place, _ in there],
                xerr=[
                    [100 * (interval.mean - interval.low) for _, interval in there],
                    [100 * (interval.high - interval.mean) for _, interval in there],
                ],
                fmt="o",
                markersize=4,
                capsize=2,
                color=COLOURS[number % len(COLOURS)],
                label=each.parts.known.title,
            )
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_yticks(range(len(pairs)), [f"{first.words}\n- {second.words}" for first, second in pairs], fontsize=7)
        axes.invert_yaxis()
        axes.set(xlabel="difference of test accuracy, points (95% interval over items and seeds)")
        axes.grid(alpha=0.25, axis="x")
        axes.legend(frameon=False)
