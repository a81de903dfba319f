"""What `ensue corpus calibrate` does: how well near-duplicates are found in someone's own text, beside the theory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ensue.recipes.data import refuse_existing
from ensue.text.corpus import read_corpus
from ensue.text.document import Document
from ensue.text.duplicates.calibrate import Calibration, calibrate
from ensue.text.duplicates.calibration_picture import draw_calibration
from ensue.text.duplicates.near import NearDuplicates
from ensue.text.read import read_documents
from ensue.text.skips import SkipReport


def calibrate_duplicates(text: Path, step: NearDuplicates, out: Path | None, *, sample: int, seed: int) -> Calibration:
    """Plant near-duplicates in the first `sample` documents; numbers and a picture go into the folder `out`."""
    if out is not None:
        refuse_existing(out)
    found = calibrate(documents_of(text), step, sample=sample, seed=seed)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "calibration.json").write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
        draw_calibration(found, out / "calibration.png")
    return found


def documents_of(text: Path) -> Iterator[Document]:
    """The documents of a curated corpus or a data folder, or of any files and folders of text."""
    folder = text / "documents"
    return read_corpus(folder) if folder.is_dir() else read_documents([text], skipped=SkipReport())


def describe_calibration(found: Calibration) -> str:
    """A table of recall by true similarity beside what MinHash's theory expects."""
    lines = ["true Jaccard   pairs   found   theory"]
    lines += [
        f"{one.low:.2f} to {one.high:.2f} {one.pairs:>7,} {one.recall:>7.1%} {one.expected / one.pairs:>8.1%}"
        for one in found.bins
    ]
    step = found.step
    return "\n".join(
        [
            *lines,
            f"{found.recall:.1%} of {found.wanted:,} planted pairs at {step.threshold} or above were found "
            f"({step.bands} bands of {step.rows}, {step.size}-grams)",
            f"{found.dropped:,} documents would be dropped, {found.false_merges:,} of them less alike than "
            f"{step.threshold} to the one that stays",
            f"of the {found.documents:,} documents as they are, {found.natural:,} would be dropped",
        ]
    )
