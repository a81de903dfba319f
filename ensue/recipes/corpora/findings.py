"""What a corpus' ledger holds, gathered in one pass for people to look at: numbers by step, clusters, samples."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ensue.text.curation.ledger import read_ledger
from ensue.text.curation.store import Store
from ensue.text.quality.report import Judged

VALUES = 50_000
"""Documents, about, whose numbers are drawn in a histogram; they are chosen by their ids."""

SAMPLES = 4
CLUSTERS = 20


@dataclass(frozen=True)
class Sample:
    """The first characters of a document, and what the step that ended its way, or the last one, said of it."""

    id: str
    source: str
    text: str
    facts: Mapping[str, Any]


@dataclass
class Cluster:
    """Documents that were dropped as duplicates of one that stayed: its id, their number and a few of their sources."""

    id: str
    size: int = 0
    sources: list[str] = field(default_factory=list)


@dataclass
class Findings:
    """Of one corpus.

    numbers   values of each numeric fact, by (step, fact), of a sample of documents: of kept ones, and of dropped ones
    words     how often each value of a textual fact was said, by (step, fact)
    samples   a few documents by (outcome, step, reason)
    clusters  the largest clusters of duplicates
    lengths   UTF-8 bytes of a sample of documents as they were read, and of those that came through
    judged    what quality filters said of a sample of documents, by step
    """

    numbers: dict[tuple[str, str], tuple[list[float], list[float]]] = field(default_factory=dict)
    words: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    samples: dict[tuple[str, str, str], list[Sample]] = field(default_factory=dict)
    clusters: list[Cluster] = field(default_factory=list)
    lengths: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    judged: dict[str, list[Judged]] = field(default_factory=dict)


def gather(store: Store, documents: int) -> Findings:
    """Go through the ledger of a corpus that `documents` documents were read for."""
    share = min(1.0, VALUES / max(1, documents))
    found = Findings()
    clusters: dict[str, Cluster] = {}
    for name, row in read_ledger(store):
        drawn = int(row["id"][:8], 16) < share * 2**32
        told = json.loads(row["told"]) if row["sample"] or drawn else []
        if row["sample"]:
            _keep_sample(found, row, told)
        if row["duplicate_of"]:
            cluster = clusters.setdefault(row["duplicate_of"], Cluster(row["duplicate_of"]))
            cluster.size += 1
            if len(cluster.sources) < SAMPLES:
                cluster.sources.append(row["source"])
        if drawn:
            if name == "00":
                found.lengths[0].append(row["bytes"])
                if row["outcome"] == "kept":
                    found.lengths[1].append(row["bytes_out"])
            _add_facts(found, told, row["outcome"])
            _add_judged(found, row, told)
    found.clusters = sorted(clusters.values(), key=lambda cluster: (-cluster.size, cluster.id))[:CLUSTERS]
    return found


def _keep_sample(found: Findings, row: Mapping[str, Any], told: list[Any]) -> None:
    samples = found.samples.setdefault((row["outcome"], row["step"], row["reason"]), [])
    if len(samples) < SAMPLES:
        facts = told[-1][2] if told and row["outcome"] != "kept" else {}
        samples.append(Sample(row["id"], row["source"], row["sample"], facts))


def _add_facts(found: Findings, told: list[Any], outcome: str) -> None:
    for index, (step, _, facts) in enumerate(told):
        ended = outcome == "dropped" and index == len(told) - 1
        for fact, value in facts.items():
            if isinstance(value, str):
                if fact != "duplicate_of":
                    found.words.setdefault((step, fact), Counter())[value] += 1
            else:
                found.numbers.setdefault((step, fact), ([], []))[int(ended)].append(float(value))


def _add_judged(found: Findings, row: Mapping[str, Any], told: list[Any]) -> None:
    for step, _, facts in told:
        if {"score", "draw"} <= facts.keys():
            judged = Judged(facts["score"], facts["draw"], row["bytes"], row["collection"])
            found.judged.setdefault(step, []).append(judged)
