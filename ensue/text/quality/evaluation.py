"""How well a quality classifier tells a reference from raw text, and by what: as values and as a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "evaluation.json"


@dataclass(frozen=True)
class Decisive:
    """A bucket that decides much, and the tokens of the sample that fall into it, most frequent first.

    influence  its weight times how much more of it is in a reference passage than in a raw one; more than 0 speaks for
               the reference, on average
    """

    bucket: int
    weight: float
    influence: float
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """How well passages of held-out documents are told apart.

    auc                   chance that a reference passage scores above a raw one
    roc                   (share of raw passages, share of reference passages) above thresholds from 1 to 0
    reference, raw        passages measured; trained_reference and trained_raw those it was fitted to
    reference_scores, raw_scores  how many held-out passages in each tenth of the score
    decisive              buckets that speak for the reference, then those that speak against it
    """

    auc: float
    roc: tuple[tuple[float, float], ...]
    reference: int
    raw: int
    trained_reference: int
    trained_raw: int
    reference_scores: tuple[int, ...]
    raw_scores: tuple[int, ...]
    decisive: tuple[Decisive, ...]


def write_evaluation(out: Path, evaluation: Evaluation) -> None:
    """Write evaluation.json to the folder `out`."""
    said = json.dumps(asdict(evaluation), ensure_ascii=False, indent=1)
    (out / FILE).write_text(said + "\n", encoding="utf-8")


def read_evaluation(data: bytes | str) -> Evaluation:
    """From the contents of an evaluation.json."""
    said: dict[str, Any] = json.loads(data)
    said["decisive"] = tuple(Decisive(**{**each, "tokens": tuple(each["tokens"])}) for each in said["decisive"])
    said["roc"] = tuple((false, true) for false, true in said["roc"])
    for name in ("reference_scores", "raw_scores"):
        said[name] = tuple(said[name])
    return Evaluation(**said)
