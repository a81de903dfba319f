"""What a quality filter kept, for people to look at: by score, length and collection, and with other alphas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ensue.text.quality.draw import is_kept, with_other_alpha

ALPHAS = (0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 9.0, 12.0, 15.0, 20.0)
SCORE_BINS = 10


@dataclass(frozen=True)
class Judged:
    """What is needed of one document: its facts `score` and `draw`, the bytes of its text, its collection."""

    score: float
    draw: float
    bytes: int
    collection: str = ""


@dataclass
class Share:
    """Documents and bytes that were judged and kept, under one heading."""

    name: str
    documents: int = 0
    bytes: int = 0
    documents_kept: int = 0
    bytes_kept: int = 0

    def add(self, judged: Judged, kept: bool) -> None:
        """Count one more."""
        self.documents += 1
        self.bytes += judged.bytes
        self.documents_kept += kept
        self.bytes_kept += kept * judged.bytes


@dataclass(frozen=True)
class QualityReport:
    """What the filter did.

    alpha          what it was run with
    by_score       ten tenths;  by_length  powers of four of bytes;  by_collection  by name
    by_alpha       what other alphas would keep of the same documents with the same chances
    """

    alpha: float
    everything: Share
    by_score: tuple[Share, ...]
    by_length: tuple[Share, ...]
    by_collection: tuple[Share, ...]
    by_alpha: tuple[Share, ...]


def report_quality(judged: Iterable[Judged], alpha: float) -> QualityReport:
    """The report from what a filter with this alpha said of documents, which is read once."""
    everything = Share("all")
    scores = [Share(f"{low / SCORE_BINS:.1f} to {(low + 1) / SCORE_BINS:.1f}") for low in range(SCORE_BINS)]
    alphas = {other: Share(f"{other:g}") for other in sorted({*ALPHAS, alpha})}
    lengths: dict[int, Share] = {}
    collections: dict[str, Share] = {}
    for each in judged:
        kept = is_kept(each.score, each.draw)
        power = (max(each.bytes, 1).bit_length() - 1) // 2
        groups = [
            everything,
            scores[min(int(each.score * SCORE_BINS), SCORE_BINS - 1)],
            lengths.setdefault(power, Share(f"{4**power:,} to {4 ** (power + 1) - 1:,} bytes")),
            collections.setdefault(each.collection, Share(each.collection)),
        ]
        for share in groups:
            share.add(each, kept)
        for other, share in alphas.items():
            share.add(each, kept if other == alpha else is_kept(each.score, with_other_alpha(each.draw, alpha, other)))
    return QualityReport(
        alpha,
        everything,
        tuple(scores),
        tuple(lengths[power] for power in sorted(lengths)),
        tuple(collections[name] for name in sorted(collections)),
        tuple(alphas.values()),
    )
