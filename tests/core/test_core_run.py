"""The run folder keeps what a run was, and never writes over another."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.core.lock import Locked, locked
from ensue.core.run import RunFolder


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "runs" / "one")


def add_checkpoint(run, step):
    run.checkpoint_path(step).mkdir()
    (run.checkpoint_path(step) / "weights").write_text(str(step))


def test_create_makes_the_layout(run):
    assert {path.name for path in run.path.iterdir()} == {"checkpoints", "plots", "samples"}
    assert run.rows() == []
    assert run.checkpoints() == []


def test_create_accepts_an_empty_folder(tmp_path):
    assert RunFolder.create(tmp_path).checkpoints() == []


@pytest.mark.parametrize("kind", ["run", "file", "folder"])
def test_create_refuses_whatever_is_there_and_says_what_to_type(tmp_path, kind):
    path = tmp_path / "taken"
    if kind == "run":
        RunFolder.create(path)
    elif kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "thesis.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=f"{path} already exists. To continue it, type: ensue train --resume {path}"):
        RunFolder.create(path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("left", [[], ["config.json"], ["data", "config.json"], [".data.writing-7", "events.jsonl"]])
def test_create_takes_over_what_a_start_that_never_began_left(tmp_path, left):
    path = tmp_path / "run"
    with RunFolder.create(path).locked():
        pass
    for name in left:
        (path / name).mkdir() if "." not in name[1:] or "writing" in name else (path / name).write_text("{}")
    with locked(path), pytest.raises(Locked):
        RunFolder.create(path)
    assert {entry.name for entry in path.iterdir()} == {"checkpoints", "plots", "samples", ".lock", *left}
    RunFolder.create(path)
    assert {entry.name for entry in path.iterdir()} == {"checkpoints", "plots", "samples", ".lock"}


@pytest.mark.parametrize("spoilt", ["checkpoint", "file", "metrics"])
def test_create_never_takes_over_more_than_that(tmp_path, spoilt):
    path = tmp_path / "run"
    run = RunFolder.create(path)
    with run.locked():
        pass
    if spoilt == "checkpoint":
        add_checkpoint(run, 0)
    else:
        (path / ("thesis.txt" if spoilt == "file" else "metrics.jsonl")).write_text("mine")
    before = sorted(path.rglob("*"))
    with pytest.raises(ValueError, match="already exists"):
        RunFolder.create(path)
    assert sorted(path.rglob("*")) == before


def test_open_says_what_is_missing(tmp_path, run):
    with pytest.raises(FileNotFoundError, match="there is no run at"):
        RunFolder.open(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is not a run folder"):
        RunFolder.open(run.path)
    run.write_config({"seed": 1})
    assert RunFolder.open(run.path).read_config() == {"seed": 1}


def test_a_damaged_config_is_named(run):
    (run.path / "config.json").write_text('{"seed": ')
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        run.read_config()


@settings(max_examples=30)
@given(data=st.data())
def test_a_log_cut_anywhere_loses_only_its_last_row(tmp_path_factory, data):
    run = RunFolder.create(tmp_path_factory.mktemp("run"))
    rows = [{"step": step, "loss": data.draw(st.floats(0, 20)), "说": "\u2028 half\n"} for step in range(1, 5)]
    for row in rows:
        run.log(row)
    whole = run.metrics_path.read_bytes()
    keep = data.draw(st.integers(0, len(whole)))
    run.metrics_path.write_bytes(whole[:keep])
    ends = [end for end, byte in enumerate(whole) if byte == ord("\n")]
    assert run.rows() == rows[: sum(end <= keep for end in ends)], "a row counts once its last brace is there"


def test_forget_after_then_logging_again_tells_each_step_once(run):
    for step in range(1, 6):
        run.log({"step": step, "loss": 1.0 / step})
        if step % 2 == 0:
            run.log({"step": step, "val_loss": 2.0})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 6, "lo')
    run.forget_after(3)
    assert [row["step"] for row in run.rows()] == [1, 2, 2, 3]
    run.log({"step": 4, "loss": 0.25})
    lines = run.metrics_path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 2, 3, 4], "any tool can read the file"


def test_checkpoints_are_sorted_by_step_and_only_whole_ones_count(run):
    steps = [5, 10, 2, 99_999_999, 100_000_000]
    for step in steps:
        add_checkpoint(run, step)
    (run.path / "checkpoints" / ".00000011.writing-7").mkdir()
    (run.path / "checkpoints" / "notes").mkdir()
    (run.path / "checkpoints" / "00000012").write_text("a file")
    assert [int(path.name) for path in run.checkpoints()] == sorted(steps)
    assert run.checkpoint_path(5).name == "00000005"


def steps_of(run):
    return [int(path.name) for path in run.checkpoints()]


def test_keep_spares_the_newest_what_it_is_told_and_what_final_and_best_are(run):
    for step in range(1, 8):
        add_checkpoint(run, step)
    run.point("final", run.checkpoint_path(2))
    run.keep(0)
    assert steps_of(run) == [1, 2, 3, 4, 5, 6, 7]
    run.keep(2, also={4, 99})
    assert steps_of(run) == [2, 4, 6, 7]
    run.keep(5)
    assert steps_of(run) == [2, 4, 6, 7]
    run.point("best", run.checkpoint_path(4))
    run.keep(1)
    assert steps_of(run) == [2, 4, 7]
    run.drop_after(4)
    assert steps_of(run) == [2, 4]


def test_a_damaged_checkpoint_is_set_aside_under_a_name_that_is_no_checkpoint(run):
    for _ in range(2):
        add_checkpoint(run, 5)
        aside = run.set_aside(run.checkpoint_path(5))
        assert (aside / "weights").read_text() == "5"
        assert steps_of(run) == []


def test_holding_a_run_clears_what_killed_writers_left_in_it(run):
    add_checkpoint(run, 4)
    left = run.path / "checkpoints" / ".00000005.writing-7"
    left.mkdir()
    (left / "half").write_text("x")
    (run.path / f".config.json.writing-{os.getpid()}").write_text("half")
    (run.path / ".mine").write_text("kept")
    os.rename(run.checkpoint_path(4), run.path / "checkpoints" / ".00000004.replaced-7")
    with run.locked():
        assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == ["00000004"]
        assert {path.name for path in run.path.iterdir() if path.name.startswith(".")} == {".lock", ".mine"}


def test_final_points_at_a_checkpoint_and_survives_a_move_of_the_run(run, tmp_path):
    add_checkpoint(run, 1)
    add_checkpoint(run, 2)
    run.point("final", run.checkpoint_path(1))
    run.point("final", run.checkpoint_path(2))
    assert (run.path / "final" / "weights").read_text() == "2"
    moved = tmp_path / "elsewhere"
    os.rename(run.path, moved)
    assert (moved / "final" / "weights").read_text() == "2"
    assert sorted(path.name for path in moved.iterdir()) == ["checkpoints", "final", "plots", "samples"]
