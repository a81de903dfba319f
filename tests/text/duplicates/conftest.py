"""Corpus steps run over documents the way the engine does it: scans in parts, one decision, judges part by part."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import pytest

from ensue.text.curation.step import CorpusStep, Verdict, number_of
from ensue.text.document import Document

Run = Callable[..., list[Verdict]]


@pytest.fixture
def run_step(tmp_path: Path) -> Run:
    """`run(step, documents, part=..., memory=...)` gives a verdict for each; `run.folders` are what was decided."""
    turns = count()

    def run(
        step: CorpusStep, documents: Sequence[Document], *, part: int = 100, memory: int = 1 << 30
    ) -> list[Verdict]:
        turn = tmp_path / str(next(turns))
        out, scratch = turn / "out", turn / "scratch"
        out.mkdir(parents=True)
        scratch.mkdir()
        parts = [list(documents[first : first + part]) for first in range(0, len(documents), part)]
        firsts = [number_of(index // 3, index % 3, 0) for index in range(len(parts))]
        scans = (step.scan(documents, first) for documents, first in zip(parts, firsts, strict=True))
        run.figures = step.decide(scans, out, memory=memory, scratch=scratch)
        run.out = out
        verdicts = []
        for documents, first in zip(parts, firsts, strict=True):
            judge = step.prepare(out, first, first + len(documents))
            verdicts.extend(judge(first + row, document) for row, document in enumerate(documents))
        return verdicts

    return run
