"""Passes and their record, with small steps that are written here: what is kept, in which order, and what is told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ensue.text.corpus import read_corpus
from ensue.text.curation import parts
from ensue.text.curation.curate import curate, read_summary
from ensue.text.curation.ledger import read_ledger
from ensue.text.curation.passes import Decide, Done, Task, plan_passes
from ensue.text.curation.step import Arrays, Fact, Judge, NumberedJudge, Step, Verdict, change, drop, keep, split
from ensue.text.curation.store import Store
from ensue.text.document import Document


@dataclass(frozen=True)
class Short:
    """Drops texts of fewer characters."""

    least: int = 4

    def prepare(self) -> Judge:
        def judge(document: Document) -> Verdict:
            size = len(document.text)
            return keep(document, characters=size) if size >= self.least else drop("too short", characters=size)

        return judge


@dataclass(frozen=True)
class Halves:
    """Cuts texts at the first bar."""

    def prepare(self) -> Judge:
        def judge(document: Document) -> Verdict:
            pieces = document.text.split("|")
            return split(document, pieces, "cut at a bar") if len(pieces) > 1 else keep(document)

        return judge


@dataclass(frozen=True)
class Upper:
    """Changes the text, and so shows that the id stays."""

    def prepare(self) -> Judge:
        return lambda document: change(document, document.text.upper(), "in capitals")


@dataclass(frozen=True)
class Once:
    """Keeps the first document of each text."""

    def scan(self, documents: Sequence[Document], first: int) -> Arrays:
        hashes = [hash_of(document.text) for document in documents]
        numbers = np.arange(first, first + len(documents), dtype=np.int64)
        return {"numbers": numbers, "hashes": np.array(hashes, dtype=np.uint64)}

    def decide(self, scans: Iterable[Arrays], out: Path, *, memory: int, scratch: Path) -> Mapping[str, Fact]:
        assert memory > 0
        assert scratch.is_dir()
        first: dict[int, int] = {}
        dropped = []
        for scan in scans:
            for number, hashed in zip(scan["numbers"].tolist(), scan["hashes"].tolist(), strict=True):
                if first.setdefault(hashed, number) != number:
                    dropped.append(number)
        (out / "dropped.json").write_text(json.dumps(dropped))
        return {"repeats": len(dropped)}

    def prepare(self, out: Path, first: int, last: int) -> NumberedJudge:
        dropped = {number for number in json.loads((out / "dropped.json").read_text()) if first <= number < last}
        return lambda number, document: drop("seen before") if number in dropped else keep(document)


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[:8].ljust(8, b"\0"), "little")


class Here:
    """An engine in this process, which can be made to stop after some tasks as a killed one would."""

    def __init__(self, limit: int = 10**9, backwards: bool = False) -> None:
        self.limit, self.backwards = limit, backwards
        self.ran: list[Task] = []

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        for task in reversed(tasks) if self.backwards else tasks:
            if len(self.ran) == self.limit:
                raise KeyboardInterrupt
            self.ran.append(task)
            yield task.run()


STEPS: list[Step] = [Halves(), Short(), Upper(), Once(), Short(5)]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Two collections of small files, in parts of a few documents and units of a few files."""
    monkeypatch.setattr(parts, "PART_DOCUMENTS", 3)
    monkeypatch.setattr("ensue.text.curation.units.UNIT_FILES", 2)
    for name, texts in {
        "a": ["hello", "world", "left half|right half", "hi", "HELLO", "four", "again and again"],
        "b": ["again and again", "only here", "world"],
    }.items():
        (tmp_path / name).mkdir()
        for index, text in enumerate(texts):
            (tmp_path / name / f"{index}.txt").write_text(text, encoding="utf-8")
    return {"first": [str(tmp_path / "a")], "second": [str(tmp_path / "b")]}


def files_of(folder: Path) -> dict[str, bytes]:
    """All that a corpus holds but how long it took and where it was made."""
    names = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in ("times.json", ".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def test_a_recipe_is_cut_before_its_corpus_steps() -> None:
    passes = plan_passes(STEPS)
    assert [one.step_names for one in passes] == [["halves", "short", "upper"], ["once", "short"]]
    assert isinstance(passes[0].scanned, Once)
    assert passes[1].scanned is None
    assert plan_passes([Short(), Short(5), Short(6)])[0].step_names == ["short", "short 2", "short 3"]


def test_what_comes_through(tmp_path: Path, sources: dict[str, list[str]]) -> None:
    out = tmp_path / "corpus"
    summary = curate(sources, STEPS, str(out), engine=Here())
    texts = [(document.text, document.meta["collection"]) for document in read_corpus(out / "documents")]
    assert texts == [
        ("HELLO", "first"),
        ("WORLD", "first"),
        ("LEFT HALF", "first"),
        ("RIGHT HALF", "first"),
        ("AGAIN AND AGAIN", "first"),
        ("ONLY HERE", "second"),
    ]
    assert summary.documents == 6
    assert summary.figures == {"01-once": {"repeats": 3}}
    assert summary.collections["second"] == [1, 9]
    assert read_summary(Store(out)) == summary
    assert not (out / "work").exists()


def test_ids_stay_when_a_text_changes_and_pieces_name_their_whole(
    tmp_path: Path, sources: dict[str, list[str]]
) -> None:
    out = tmp_path / "corpus"
    curate(sources, STEPS, str(out), engine=Here())
    hello, _, left, *_ = read_corpus(out / "documents")
    assert hello.id == Document.of("hello", "a/0.txt").id
    assert left.id == Document.of("left half", "a/2.txt#1").id
    assert left.meta["part_of"] == Document.of("left half|right half", "a/2.txt").id


def test_every_document_has_a_story_in_each_pass_it_reaches(tmp_path: Path, sources: dict[str, list[str]]) -> None:
    out = tmp_path / "corpus"
    summary = curate(sources, STEPS, str(out), engine=Here())
    rows = list(read_ledger(Store(out)))
    outcomes = Counter((name, row["outcome"], row["step"], row["reason"]) for name, row in rows)
    assert outcomes == {
        ("00", "kept", "", ""): 10,
        ("00", "dropped", "short", "too short"): 1,
        ("00", "split", "halves", "cut at a bar"): 1,
        ("01", "kept", "", ""): 6,
        ("01", "dropped", "once", "seen before"): 3,
        ("01", "dropped", "short", "too short"): 1,
    }
    told = next(json.loads(row["told"]) for name, row in rows if row["source"] == "a/0.txt" and name == "00")
    assert told == [["halves", "", {}], ["short", "", {"characters": 5}], ["upper", "in capitals", {}]]
    by_step = {tally["step"]: tally for one in summary.passes for tally in one}
    assert by_step["halves"]["documents_in"] == 10
    assert by_step["halves"]["documents_out"] == 11
    assert by_step["once"]["dropped"] == {"seen before": [3, 25]}


def test_the_order_in_which_tasks_finish_changes_nothing(tmp_path: Path, sources: dict[str, list[str]]) -> None:
    curate(sources, STEPS, str(tmp_path / "one"), engine=Here())
    curate(sources, STEPS, str(tmp_path / "two"), engine=Here(backwards=True))
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


@pytest.mark.parametrize("limit", range(13))
def test_a_stop_at_any_task_costs_only_that_task(tmp_path: Path, sources: dict[str, list[str]], limit: int) -> None:
    whole = Here()
    curate(sources, STEPS, str(tmp_path / "whole"), engine=whole)
    first, second = Here(limit), Here()
    with pytest.raises(KeyboardInterrupt):
        curate(sources, STEPS, str(tmp_path / "stopped"), engine=first)
    curate(sources, STEPS, str(tmp_path / "stopped"), engine=second)
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")
    assert len(first.ran) + len(second.ran) == len(whole.ran)
    assert sum(isinstance(task, Decide) for task in (*first.ran, *second.ran)) == 1


def test_a_unit_that_was_half_read_keeps_its_finished_parts(tmp_path: Path, sources: dict[str, list[str]]) -> None:
    out = tmp_path / "corpus"
    with pytest.raises(KeyboardInterrupt):
        curate(sources, STEPS, str(out), engine=Here(2))
    done = sorted((out / "work" / "00").glob("*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in done}
    unit = done[0].name[:6]
    (out / "work" / "units" / f"{unit}.json").unlink()  # as if it had been killed before its end
    with pytest.raises(KeyboardInterrupt):
        curate(sources, STEPS, str(out), engine=Here(1))
    assert {path: path.stat().st_mtime_ns for path in done} == before


def test_a_source_that_vanished_is_named_and_the_rest_is_kept(tmp_path: Path, sources: dict[str, list[str]]) -> None:
    out = tmp_path / "corpus"
    with pytest.raises(KeyboardInterrupt):
        curate(sources, STEPS, str(out), engine=Here(1))
    (tmp_path / "b" / "1.txt").unlink()
    summary = curate(sources, STEPS, str(out), engine=Here())
    assert summary.documents == 5
    assert sum(summary.skipped.values()) == 1
    assert any("1.txt" in path.read_text() for path in (out / "skipped").glob("*.jsonl"))


def test_another_recipe_or_source_is_refused_and_named(tmp_path: Path, sources: dict[str, list[str]]) -> None:
    out = str(tmp_path / "corpus")
    with pytest.raises(KeyboardInterrupt):
        curate(sources, STEPS, out, engine=Here(1))
    with pytest.raises(ValueError, match=r"Short\.least = 4, not 3"):
        curate(sources, [Halves(), Short(3), Upper(), Once(), Short(5)], out, engine=Here())
    with pytest.raises(ValueError, match="other sources"):
        curate({"first": sources["first"]}, STEPS, out, engine=Here())


def test_a_finished_corpus_and_a_folder_of_something_else_are_left_alone(
    tmp_path: Path, sources: dict[str, list[str]]
) -> None:
    curate(sources, STEPS, str(tmp_path / "corpus"), engine=Here())
    with pytest.raises(ValueError, match="finished corpus; choose a new name"):
        curate(sources, STEPS, str(tmp_path / "corpus"), engine=Here())
    with pytest.raises(ValueError, match="already exists"):
        curate(sources, STEPS, str(tmp_path / "a"), engine=Here())


def test_a_recipe_that_drops_everything_says_what_did(tmp_path: Path, sources: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"no document came through.*\n  short: 10 dropped: too short"):
        curate(sources, [Short(1000)], str(tmp_path / "corpus"), engine=Here())
    with pytest.raises(ValueError, match="not finished"):
        read_summary(Store(tmp_path / "corpus"))


def test_a_source_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match=r"no document came through.*\n  1 could not be read: empty"):
        curate({"own": [str(tmp_path / "empty.txt")]}, STEPS, str(tmp_path / "corpus"), engine=Here())


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        curate({"x": [str(tmp_path / "nothing")]}, STEPS, str(tmp_path / "corpus"), engine=Here())
