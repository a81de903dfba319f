"""Documents judged by a quality model that is there: right after training, or later, on other text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensue.text.curation.step import Judge, Verdict, drop, keep
from ensue.text.document import Document
from ensue.text.quality.draw import is_kept, pareto_draw
from ensue.text.quality.model import QualityModel
from ensue.text.quality.scoring import Scorer

DROPPED = "drawn out by its quality score"


def judge_by(model: QualityModel, *, alpha: float, seed: int, only: Sequence[str] = ()) -> Judge:
    """A judge that scores, draws and says both; documents of collections that `only` does not name pass unjudged."""
    scorer = Scorer(model)

    def judge(document: Document) -> Verdict:
        if only and document.meta.get("collection", "") not in only:
            return keep(document)
        score = round(scorer.score(document.text), 6)
        draw = pareto_draw(seed, document.id, alpha)
        if is_kept(score, draw):
            return keep(document, score=score, draw=draw)
        return drop(DROPPED, score=score, draw=draw)

    return judge


@dataclass(frozen=True)
class KnownQuality:
    """Keep documents by a model that a `QualityFilter` trained before: model.npz, from that corpus' folder.

    model  the file; alpha, seed and only are those of `QualityFilter`
    """

    model: str
    alpha: float = 9.0
    seed: int = 0
    only: tuple[str, ...] = ()

    def prepare(self) -> Judge:
        """Load the model. Raises ValueError if there is none, or something else in its place."""
        try:
            model = QualityModel.load(Path(self.model))
        except FileNotFoundError as error:
            raise ValueError(f"There is no quality model {self.model!r}; train one with QualityFilter.") from error
        return judge_by(model, alpha=self.alpha, seed=self.seed, only=self.only)
