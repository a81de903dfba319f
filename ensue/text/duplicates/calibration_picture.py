"""A picture of a calibration: the share of near-duplicates that was found, beside what the theory promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ensue.text.duplicates.calibrate import Calibration


def draw_calibration(calibration: Calibration, target: Path) -> None:
    """Recall against Jaccard similarity as a PNG: each bin with Wilson's 95% interval, the curve and the threshold."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    step = calibration.step
    similarity = np.linspace(0, 1, 401)
    figure, axes = pyplot.subplots(figsize=(7.5, 4.5), dpi=120)
    theory = f"theory: 1 - (1 - J^{step.rows})^{step.bands}"
    axes.plot(similarity, 1 - (1 - similarity**step.rows) ** step.bands, color="#1f4e79", linewidth=1.8, label=theory)
    places = [bin.mean for bin in calibration.bins]
    recalls = np.array([bin.recall for bin in calibration.bins])
    intervals = np.array([_wilson(bin.found, bin.pairs) for bin in calibration.bins]).T
    reach = np.clip([recalls - intervals[0], intervals[1] - recalls], 0, 1)
    label = f"measured on {calibration.planted:,} planted copies"
    axes.errorbar(places, recalls, yerr=reach, fmt="o", color="#c0504d", markersize=4, capsize=2, label=label)
    axes.axvline(step.threshold, color="#777777", linewidth=1, linestyle="--", label=f"threshold {step.threshold:g}")
    axes.set(xlabel="Jaccard similarity", ylabel="share found", xlim=(0, 1.01), ylim=(-0.02, 1.03))
    axes.set_title(
        f"{calibration.recall:.1%} of duplicates found, {calibration.false_merges:,} of {calibration.dropped:,} "
        "dropped below the threshold",
        fontsize=10,
    )
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper left")
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)
    pyplot.close(figure)


def _wilson(found: int, pairs: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    z, share = 1.96, found / pairs
    centre = (share + z * z / (2 * pairs)) / (1 + z * z / pairs)
    half = z * np.sqrt(share * (1 - share) / pairs + z * z / (4 * pairs * pairs)) / (1 + z * z / pairs)
    return float(centre - half), float(centre + half)
