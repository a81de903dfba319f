"""The step that keeps documents by their quality, as GPT-3's corpus was made (Brown et al. 2020, appendix A)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ensue.core.config import to_dict
from ensue.text.curation.step import Arrays, Fact, NumberedJudge
from ensue.text.document import Document
from ensue.text.quality import model as model_file
from ensue.text.quality.evaluation import write_evaluation
from ensue.text.quality.judging import judge_by
from ensue.text.quality.model import QualityModel
from ensue.text.quality.overlap import Overlap
from ensue.text.quality.passages import Cutting, Passage, gather_passages, read_passages, scan_passages
from ensue.text.read import read_documents
from ensue.text.skips import SkipReport

BYTES_A_PASSAGE = 30_000
"""Memory that training takes for each passage of 1,000 tokens, at most: its buckets and counts, and twice its row."""


@dataclass(frozen=True)
class QualityFilter:
    """Keep documents that look like a reference, and by chance some that do not.

    A logistic regression tells passages of the reference from passages of all that comes in, by hashed tokens. A
    document is kept if a draw from a Pareto distribution exceeds 1 - score; the draw is a function of `seed` and the
    document's id.

    reference  files and folders of text that is good; read as any text
    alpha      of the Pareto distribution; the larger, the fewer documents with low scores are kept
    sample     passages of each side that are used, at most; memory is about 30 kB each
    features   buckets, a power of two
    passage    tokens that are looked at together. A longer document's logit is the mean over its passages, weighted by
               their tokens, so that long documents such as books are judged as short ones are
    held_out   share of the documents kept from training, to measure on
    strength   scikit-learn's C. Where good text is among the raw, as in a crawl, 1 to 10 told best, and more overfits
    least      documents needed on each side
    only       names of collections (meta["collection"]) to judge; others pass. None: all are judged
    least_auc  refuse a classifier that tells the two sides apart no better than this
    """

    reference: tuple[str, ...]
    alpha: float = 9.0
    seed: int = 0
    sample: int = 10_000
    features: int = 1 << 18
    passage: int = 1000
    held_out: float = 0.2
    strength: float = 10.0
    least: int = 50
    only: tuple[str, ...] = ()
    least_auc: float = 0.6

    def __post_init__(self) -> None:
        if isinstance(self.reference, str) or not self.reference:
            raise ValueError('reference is a list of files and folders: write reference=("books/",).')
        if self.features < 2 or self.features & (self.features - 1) or self.features > 1 << 30:
            raise ValueError(f"features must be a power of two up to 2**30, such as 2**18, not {self.features}.")
        if not self.alpha > 0:
            raise ValueError(f"alpha must be more than 0, not {self.alpha}; GPT-3 has 9.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be between 0 and 1, not {self.held_out}; take 0.2.")
        if not 1 <= self.passage < 1 << 15:
            raise ValueError(f"passage must be 1 to 32,767 tokens, not {self.passage}; take 1000.")

    def scan(self, documents: Sequence[Document], first: int) -> Arrays:
        """Passages of this part that may be in the sample; see `scan_passages`."""
        return scan_passages([each for each in documents if self._judges(each)], first, self._cutting())

    def decide(self, scans: Iterable[Arrays], out: Path, *, memory: int, scratch: Path) -> Mapping[str, Fact]:
        """Train on the sample and the reference; write the model and how well it does to `out`.

        Raises ValueError if there is too little of either side, if they are the same, or if memory is too small.
        """
        from ensue.text.quality.training import evaluate, fit

        raw, names = gather_passages(scans, self.sample)
        self._check_size(len({each.id for each in raw}), "that come in", "filter more text, or leave this step out")
        overlap, skipped = Overlap(raw), SkipReport()
        documents = read_documents([Path(path) for path in self.reference], skipped=skipped)
        reference, more = read_passages(documents, self.sample, self._cutting(), overlap.see)
        self._check_size(overlap.documents_seen, "in the reference", "name more files")
        sampled, raw = len(raw), overlap.others()
        self._check_memory(len(raw) + len(reference), memory)
        self._check_held_out(reference, "the reference")
        self._check_held_out(raw, "the text that comes in")
        fitted = ([each for each in side if not each.held_out] for side in (reference, raw))
        weights, bias = fit(*fitted, features=self.features, passage=self.passage, strength=self.strength)
        evaluation = evaluate(reference, raw, weights, bias, passage=self.passage, names=names + more)
        if evaluation.auc < self.least_auc:
            raise ValueError(
                "The classifier cannot tell the reference from the text that comes in: on held-out documents its AUC "
                f"is {evaluation.auc:.2f}, where chance gives 0.50. Name a reference that differs from that text, or a "
                "larger one."
            )
        QualityModel(weights, bias, self.passage, to_dict(self)).save(out / model_file.FILE)
        write_evaluation(out, evaluation)
        return {
            "auc": evaluation.auc,
            "reference_documents": overlap.documents_seen,
            "reference_passages": len(reference),
            "reference_skipped": skipped.count,
            "raw_passages": len(raw),
            "in_both": sampled - len(raw),
        }

    def prepare(self, out: Path, first: int, last: int) -> NumberedJudge:
        """The judge by the model in `out`."""
        model = QualityModel.load(out / model_file.FILE)
        judge = judge_by(model, alpha=self.alpha, seed=self.seed, only=self.only)
        return lambda number, document: judge(document)

    def _judges(self, document: Document) -> bool:
        return not self.only or document.meta.get("collection", "") in self.only

    def _cutting(self) -> Cutting:
        return Cutting(self.seed, self.features, self.passage, self.held_out)

    def _check_size(self, documents: int, where: str, advice: str) -> None:
        if documents < self.least:
            raise ValueError(
                f"A quality filter needs at least {self.least} documents on each side, and there are {documents} "
                f"{where}; {advice}."
            )

    def _check_memory(self, passages: int, memory: int) -> None:
        if (need := passages * BYTES_A_PASSAGE * self.passage // 1000) > memory:
            raise ValueError(
                f"Training on {passages:,} passages may take {need / 1e6:,.0f} MB, and {memory / 1e6:,.0f} MB are "
                f"allowed; allow more, or take a smaller sample than {self.sample:,}."
            )

    def _check_held_out(self, passages: Sequence[Passage], where: str) -> None:
        held_out = sum(each.held_out for each in passages)
        if not 0 < held_out < len(passages):
            raise ValueError(
                f"Of {len(passages)} passages of {where}, {held_out} are held out to measure on; more documents are "
                "needed."
            )
