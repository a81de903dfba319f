"""The report is one page that needs nothing else, holds every reason and number, and takes text from pages as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ensue.recipes.corpora.findings import gather
from ensue.recipes.corpora.report import write_report
from ensue.text.curation.curate import curate
from ensue.text.curation.passes import Done, Task
from ensue.text.curation.store import Store
from ensue.text.filters.length import Length


class Here:
    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        return (task.run() for task in tasks)


@pytest.fixture
def corpus(tmp_path: Path) -> Store:
    (tmp_path / "texts").mkdir()
    for number in range(12):
        text = "<script>alert('page')</script> " + "a sentence & another. " * number
        (tmp_path / "texts" / f"{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "texts" / "empty.txt").write_text("")
    curate({"mine": [str(tmp_path / "texts")]}, [Length(100, 200)], str(tmp_path / "corpus"), engine=Here())
    return Store(tmp_path / "corpus")


def test_the_page(corpus: Store) -> None:
    page = corpus.read(write_report(corpus)).decode()
    for expected in ("12 documents", "length", "mine", "What could not be read", "Samples"):
        assert expected in page
    assert "alert('page')" not in page.replace("&#x27;", "'").split("<pre>")[0]
    assert "<script>alert" not in page
    outside_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"(?:src|href)=", outside_scripts) == []
    assert re.findall(r"<script[^>]* src=", page) == []
    dropped = re.findall(r"(\d+) dropped: ([^(]+) \(", page)
    assert sum(int(count) for count, _ in dropped) == 12 - 4


def test_findings_are_those_of_the_ledger(corpus: Store) -> None:
    found = gather(corpus, 12)
    assert len(found.lengths[0]) == 12
    assert len(found.lengths[1]) == 4
    (values,) = (values for (step, _), values in found.numbers.items() if step == "length")
    assert sorted(map(len, values)) == [4, 8]
    assert {outcome for outcome, _, _ in found.samples} == {"kept", "dropped"}


def test_an_unfinished_corpus(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a curated corpus"):
        write_report(Store(tmp_path))
