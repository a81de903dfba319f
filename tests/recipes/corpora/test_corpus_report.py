"""The report is one page that needs nothing else, holds every reason and number, and takes text from pages as text."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ensue.recipes.corpora.curating import drastic_steps
from ensue.recipes.corpora.findings import gather
from ensue.recipes.corpora.report import write_report
from ensue.text.curation.curate import curate
from ensue.text.curation.passes import Done, Task
from ensue.text.curation.store import Store
from ensue.text.filters.length import Length
from ensue.text.quality.judging import KnownQuality
from ensue.text.quality.step import QualityFilter


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


def test_what_the_quality_filter_kept_and_would_keep(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    draw = random.Random(1)
    good, bad = ["the tide turns", "a boat sails", "gulls cry"], ["buy now", "click here", "best price <b>"]
    (tmp_path / "reference.jsonl").write_text("".join(f'{{"text": "{_prose(draw, good)}"}}\n' for _ in range(80)))
    (tmp_path / "texts").mkdir()
    for number in range(120):
        words = good if number % 3 == 0 else bad
        (tmp_path / "texts" / f"{number:03}.txt").write_text(_prose(draw, words), encoding="utf-8")
    steps = [QualityFilter(reference=(str(tmp_path / "reference.jsonl"),), features=1 << 12, alpha=3.0)]
    summary = curate({"mine": [str(tmp_path / "texts")]}, steps, str(tmp_path / "corpus"), engine=Here())
    store = Store(tmp_path / "corpus")
    page = store.read(write_report(store)).decode()
    found = re.findall(r'<tr><td>(?:<b>)?([\w.]+)(?:</b>)?</td><td class="n">120</td><td class="n">(\d+)</td>', page)
    kept = {name: int(count) for name, count in found}
    assert kept["3"] == kept["mine"] == summary.documents
    assert kept["0.5"] >= kept["1"] >= kept["3"] >= kept["9"]
    assert kept["0.5"] > kept["9"]
    speaks_for, speaks_against = (
        re.search(rf"<b>speaks {side}</b>(.*?)</p>", page) for side in ("for the reference", "against it")
    )
    assert speaks_for
    assert speaks_against
    assert set(re.findall("<code>(.*?)</code>", speaks_for[1])) <= set(" ".join(good).split())
    assert re.findall("<code>(.*?)</code>", speaks_against[1])[0] in " ".join(bad).split()
    assert "held out: AUC" in page  # plotly itself has the letters

    # The model that was trained, on other documents: what it kept, but nothing of how it was trained.
    model = str(tmp_path / "corpus" / "decided" / "01-quality-filter" / "model.npz")
    known = curate(
        {"other": [str(tmp_path / "texts")]}, [KnownQuality(model, alpha=2.0)], str(tmp_path / "known"), engine=Here()
    )
    page = Store(tmp_path / "known").read(write_report(Store(tmp_path / "known"))).decode()
    assert "<h2>The known quality</h2>" in page
    assert f'<b>2</b></td><td class="n">120</td><td class="n">{known.documents}</td>' in page
    assert "held out: AUC" not in page


@pytest.mark.parametrize(("short", "long", "expected"), [(19, 1, ["length"]), (18, 2, []), (18, 1, [])])
def test_a_step_that_drops_almost_all_is_pointed_at(tmp_path: Path, short: int, long: int, expected: list[str]) -> None:
    """More than nine tenths, of 20 documents or more."""
    assert _drastic(tmp_path, short=short, long=long) == expected


def _drastic(folder: Path, *, short: int, long: int) -> list[str]:
    (folder / "texts").mkdir()
    for number in range(short + long):
        text = f"{number} " + "a sentence. " * (1 if number < short else 20)
        (folder / "texts" / f"{number}.txt").write_text(text, encoding="utf-8")
    steps = [Length(least_characters=100)]
    return drastic_steps(curate({"mine": [str(folder / "texts")]}, steps, str(folder / "corpus"), engine=Here()))


def _prose(draw: random.Random, phrases: Sequence[str]) -> str:
    return ". ".join(draw.choice(phrases) for _ in range(30))
