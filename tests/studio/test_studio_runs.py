"""Runs as the studio sees them: read as they grow, drawn, and what their steps read."""

import json
import math
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ensue.core.run import RunFolder, forget_rows_after
from ensue.studio.growing_rows import GrowingRows
from ensue.studio.run_book import RunBook
from ensue.studio.run_curves import WatchedRun, duration, state_of
from ensue.studio.run_figures import loss_figure, rate_figure, running_mean, thin
from ensue.studio.run_list import find_runs
from ensue.studio.samples import read_sample, sample_steps
from ensue.studio.step_documents import step_reading
from ensue.studio.texts import speaker
from ensue.verbs.studio import run_records

from .conftest import STEPS, World


@pytest.fixture
def copy(world: World, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world.run, tmp_path / "runs" / "copy", symlinks=True))


def test_rows_are_read_once_and_half_lines_wait(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = GrowingRows(path)
    with pytest.raises(FileNotFoundError):
        rows.read()
    path.write_bytes(b'{"step": 1}\n{"st')
    assert rows.read().rows == [{"step": 1}]
    assert rows.read().rows == []
    with path.open("ab") as file:
        file.write(b'ep": 2}\nnot json\n[1]\n{"step": 3}\n')
    new = rows.read()
    assert (new.rows, new.anew) == ([{"step": 2}, {"step": 3}], False)
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step": 4}\n')
    rows.read()
    forget_rows_after(path, 2)  # as a run does that goes back
    new = rows.read()
    assert (new.rows, new.anew) == ([{"step": 1}, {"step": 2}], True)
    path.write_bytes(b'{"step": 9}\n')
    assert rows.read().rows == [{"step": 9}]


@given(some.lists(some.integers(1, 40), min_size=1, max_size=30), some.data())
def test_rows_come_whole_however_the_file_grows(sizes: list[int], data: some.DataObject) -> None:
    import tempfile

    lines = b"".join(
        json.dumps({"step": number, "pad": "x" * size}).encode() + b"\n" for number, size in enumerate(sizes)
    )
    cuts = sorted(data.draw(some.lists(some.integers(0, len(lines)), max_size=6)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        path.touch()
        reader, seen = GrowingRows(path), []
        for low, high in zip([0, *cuts], [*cuts, len(lines)], strict=True):
            with path.open("ab") as file:
                file.write(lines[low:high])
            new = reader.read()
            assert not new.anew
            seen.extend(row["step"] for row in new.rows)
    assert seen == list(range(len(sizes)))


def test_a_finished_run(world: World) -> None:
    run = WatchedRun("fox", world.run)
    assert run.refresh()
    assert not run.refresh()
    told = RunFolder(world.run).rows()
    assert run.curves.loss == [row["loss"] for row in told if "loss" in row]
    assert run.curves.held_out == [row["val_loss"] for row in told if "val_loss" in row]
    assert (run.state, run.step, run.planned, run.tunes) == ("finished", STEPS, STEPS, False)
    assert run.seconds_left is None
    assert run.curves.speed is not None
    assert run.curves.speed > 0
    assert set(run.curves.other) == {"bits_per_byte"}


def test_a_run_that_goes_on(copy: Path) -> None:
    """As a training writes it: this process holds the lock, and rows come one by one."""
    run = RunFolder(copy)
    watched = WatchedRun("copy", copy)
    with run.locked():
        run.tell("continued", 6, {})
        run.forget_after(6)
        watched.refresh()
        assert (watched.state, watched.step) == ("running", 6)
        last = run.rows()[-1]
        for step in (7, 8):
            run.log({**last, "step": step, "loss": 1.5, "tokens": 96 * step, "elapsed": last.get("elapsed", 0) + step})
            assert watched.refresh()
            assert watched.step == step
        assert watched.seconds_left is not None
        assert watched.seconds_left > 0
    (copy / ".lock").write_text(json.dumps({"pid": 2**22 + 5, "host": os.uname().nodename}))  # no such process
    assert state_of(copy) == "stopped"
    shutil.rmtree(copy)
    watched.refresh()
    assert watched.state == "gone"
    assert watched.step == 8


def test_the_book_finds_runs_and_forgets_those_that_go(world: World, copy: Path) -> None:
    assert {run.path.name for run in find_runs(world.runs)} == {"fox", "tuned"}
    book = RunBook(copy.parent)
    assert [run.name for run in book.refresh()] == ["copy"]
    shutil.rmtree(copy)
    assert [run.state for run in book.refresh()] == ["gone"]
    assert book.refresh() == []
    assert RunBook(copy.parent / "nowhere").refresh() == []


@pytest.mark.parametrize("axis", ["steps", "tokens", "minutes"])
def test_figures_are_plain_json_and_escape_names(world: World, axis: str) -> None:
    run = WatchedRun("<b>fox</b>", world.run)
    run.refresh()
    run.curves.loss[3] = math.nan
    for draw in (loss_figure, rate_figure):
        figure = draw([run, run], axis, speaker("zh"))  # type: ignore[arg-type]
        text = json.dumps(figure, allow_nan=False)
        assert "&lt;b&gt;fox" in text
        assert figure["data"][0]["customdata"][-1] == ["<b>fox</b>", STEPS]
        assert all("<b>" not in trace["name"] for trace in figure["data"])


@given(some.lists(some.floats(-9, 9) | some.just(math.nan), max_size=300), some.integers(8, 40))
def test_thin_keeps_ends_and_extremes(values: list[float], most: int) -> None:
    kept = thin(values, most)
    assert len(kept) <= max(most, 0)
    assert kept == sorted(set(kept))
    known = [value for value in values if not math.isnan(value)]
    if known:
        assert max(known) in [values[place] for place in kept]
        assert min(known) in [values[place] for place in kept]
    assert len(running_mean(values, 0.9)) == len(values)


def test_samples(world: World) -> None:
    assert sample_steps(world.run) == ["00000006", "00000012"]
    texts = read_sample(world.run, "00000006")
    assert len(texts) == 2
    assert texts[0].startswith("the fox")
    assert texts[1].startswith("狐狸")
    assert sample_steps(world.run / "nowhere") == []
    with pytest.raises(FileNotFoundError):
        read_sample(world.run, "../config")


def test_what_a_step_read(world: World) -> None:
    from ensue.recipes.why import show_documents

    reading = step_reading(world.run, 3, records=run_records())
    told = json.loads(show_documents(RunFolder(world.run), 3, as_json=True))["documents"]
    assert [read.id for read in reading.shown] == [document["id"] for document in told]
    assert reading.tokens == sum(document["tokens"] for document in told)
    assert reading.trained
    for read in reading.shown:
        text = (world.folder / read.source).read_text(encoding="utf-8")
        assert read.text
        assert text.startswith(read.text)
    with pytest.raises(ValueError, match="12 steps"):
        step_reading(world.run, 13, records=run_records())
    with pytest.raises(FileNotFoundError):
        step_reading(world.folder / "nowhere", 1, records=run_records())


def test_what_a_step_of_a_tuned_run_read(world: World) -> None:
    run = WatchedRun("tuned", world.tuned)
    run.refresh()
    assert run.tunes
    assert run.state == "finished"
    reading = step_reading(world.tuned, 1, records=run_records())
    assert reading.documents == 6
    rows = [json.loads(line) for line in (world.folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    for read in reading.shown:
        row = rows[int(read.source.rpartition(":")[2]) - 1]
        assert read.text == f"text: {row['text']}\nlabel: {row['label']}"


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0, 59.4, 60, 185, 7385)] == ["0 s", "59 s", "1:00", "3:05", "2:03:05"]
