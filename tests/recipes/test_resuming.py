"""A run continued with other settings: refused by the field's name, or recorded; and what a killed start leaves."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ensue.cli import main
from ensue.core.run import RunFolder
from ensue.recipes.data import Data
from ensue.recipes.display import Display
from ensue.recipes.resuming import config_at, config_to_continue, schedule_to_continue
from ensue.train.checkpoint import read_progress

Ensue = Callable[..., tuple[int, str]]
SMALL = ["--recipe", "gpt2", "--batch.start", "2", "--batch.end", "2", "--evaluate_every", "0", "--save_every", "3"]


@pytest.fixture(scope="module")
def finished(data: Data, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 6 steps; copy it before continuing it."""
    run = tmp_path_factory.mktemp("resumed") / "finished"
    assert main(["train", str(data.path), "--run", str(run), "--steps", "6", *SMALL, *tiny]) == 0
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run", symlinks=True))


def steps(run: Path) -> list[int]:
    return [row["step"] for row in rows(run) if "loss" in row]


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (["--steps", "9"], "schedule.steps is 6 in the run and 9 here"),
        (["--optimizer.lr", "0.5"], "optimizer.lr is 0.0006 in the run and 0.5 here"),
        (["--seed", "3"], "seed is 0 in the run and 3 here"),
        (["--micro_batch", "2"], "micro_batch is 3 in the run and 2 here"),
        (["--clip", "none"], "optimizer.clip is 1.0 in the run and null here"),
        (["--spikes.action", "skip"], 'spikes.action is "off" in the run and "skip" here'),
    ],
)
def test_another_field_is_refused_by_name_and_accepted_with_the_flag(
    fields: list[str], named: str, run: Path, ensue: Ensue
) -> None:
    before = (run / "config.json").read_bytes()
    code, said = ensue("train", "--resume", run, *fields)
    assert code == 2
    assert named in said
    assert "step 6" in said
    assert "--changed" in said
    assert (run / "config.json").read_bytes() == before
    more = [] if "--steps" in fields else ["--steps", "9"]
    code, said = ensue("train", "--resume", run, *fields, *more, "--changed")
    assert code == 0, said
    assert f"from step 6 on, {named.split()[0]}: " in said
    assert steps(run) == list(range(1, 10))
    assert config_at(RunFolder(run), 6).schedule.steps == 6
    assert config_at(RunFolder(run), 7).schedule.steps == 9
    told = [event for event in RunFolder(run).events() if event["event"] == "changed"]
    assert [event["step"] for event in told] == [6]
    assert named.split()[0] in told[0]
    # Continued once more, nothing is new.
    code, said = ensue("train", "--resume", run)
    assert (code, "-> " in said) == (0, False)


@pytest.mark.parametrize(
    "field", ["--layers=3", "--width=32", "--vocab_size=9", "--optimizer.kind=muon", "--context=8"]
)
def test_what_no_run_can_change_is_refused_even_with_the_flag(field: str, run: Path, ensue: Ensue) -> None:
    code, said = ensue("train", "--resume", run, *field.split("="), "--changed")
    assert code == 2
    known = field != "--vocab_size=9"
    assert ("cannot go on with another one" in said) == known
    assert ("no option" in said) == (not known)


@pytest.mark.parametrize("field", ["data", "reasons"])
def test_what_is_only_told_cannot_be_set(field: str, run: Path, data: Data, tmp_path: Path, ensue: Ensue) -> None:
    for command in (["--resume", run], [data.path, "--run", tmp_path / "new", "--steps", 2]):
        code, said = ensue("train", *command, f"--{field}", "x")
        assert (code, f"--{field} cannot be set: " in said) == (2, True), said
    assert not (tmp_path / "new").exists()


def test_what_no_weight_depends_on_is_accepted(run: Path, ensue: Ensue) -> None:
    code, said = ensue("train", "--resume", run, "--keep_checkpoints", "5", "--save_every", "1", "--seed", "0")
    assert code == 0, said
    assert json.loads((run / "config.json").read_text())["config"]["keep_checkpoints"] == 5
    assert config_at(RunFolder(run), 1).keep_checkpoints == 2


def test_a_config_edited_by_hand(run: Path, ensue: Ensue) -> None:
    path = run / "config.json"
    edited = path.read_text().replace('"beta1": 0.9', '"beta1": 0.8')
    path.write_text(edited)
    code, said = ensue("train", "--resume", run)
    assert code == 2
    assert "optimizer.beta1 is 0.9 in the run and 0.8 here" in said
    assert "put back what was there" in said
    assert path.read_text() == edited
    code, said = ensue("train", "--resume", run, "--changed")
    assert code == 0, said
    assert config_at(RunFolder(run), 6).optimizer.beta1 == 0.9


def test_other_data(run: Path, corpus: Path, finished: Path, tmp_path: Path, ensue: Ensue) -> None:
    """The same data somewhere else is the same; other text by the same tokenizer needs the flag; another tokenizer is
    none of it."""
    place = json.loads((run / "config.json").read_text())["config"]["data"]
    moved = shutil.copytree(place, tmp_path / "moved")
    code, said = ensue("train", moved, "--resume", run)
    assert (code, "-> " in said) == (0, False), said
    assert json.loads((run / "config.json").read_text())["config"]["data"] == str(moved)

    fewer = [corpus / f"{number:02}.txt" for number in range(12)]
    code, said = ensue("prepare", *fewer, "--out", tmp_path / "less", "--tokenizer", run / "final")
    assert code == 0, said
    code, said = ensue("train", tmp_path / "less", "--resume", run, "--steps", 9)
    assert code == 2
    assert "the training text is not what the run was trained with" in said
    assert "--changed" in said
    code, said = ensue("train", tmp_path / "less", "--resume", run, "--steps", 9, "--changed")
    assert code == 0, said
    assert [config_at(RunFolder(run), step).data for step in (6, 7)] == [str(moved), str(tmp_path / "less")]
    code, said = ensue("verify", run, "--steps", "0:9")
    assert (code, "the data changed after step 6" in said) == (2, True), said
    for first, last in ((0, 6), (6, 9)):
        code, said = ensue("verify", run, "--steps", f"{first}:{last}")
        assert code == 0, said

    code, said = ensue("prepare", *fewer, "--out", tmp_path / "other", "--vocab", 299)
    assert code == 0, said
    code, said = ensue("train", tmp_path / "other", "--resume", run, "--changed")
    assert code == 2
    assert "the tokenizer differs" in said
    code, said = ensue("train", corpus, "--resume", run)
    assert (code, "is not prepared data" in said) == (2, True)
    code, said = ensue("train", "--resume", run, "--tokenizer", tmp_path / "other" / "tokenizer")
    assert (code, "the tokenizer differs" in said) == (2, True)
    code, said = ensue("train", "--resume", run, "--tokenizer", run / "final")
    assert code == 0, said


def test_other_data_and_a_kill_before_the_next_checkpoint(
    run: Path, corpus: Path, finished: Path, tmp_path: Path, ensue: Ensue
) -> None:
    """What was accepted once need not be accepted again."""
    fewer = [corpus / f"{number:02}.txt" for number in range(12)]
    assert ensue("prepare", *fewer, "--out", tmp_path / "less", "--tokenizer", run / "final")[0] == 0
    code, said = ensue("train", tmp_path / "less", "--resume", run, "--steps", 9, "--changed")
    assert (code, "from step 6 on, other text is read" in said) == (0, True), said
    shutil.rmtree(run / "checkpoints" / "00000009")
    (run / "final").unlink()
    code, said = ensue("train", "--resume", run)
    assert code == 0, said
    assert steps(run) == list(range(1, 10))
    code, said = ensue("verify", run, "--steps", "6:9")
    assert code == 0, said
    place = json.loads((finished / "config.json").read_text())["config"]["data"]
    shutil.rmtree(run / "checkpoints" / "00000009")
    (run / "final").unlink()
    code, said = ensue("train", place, "--resume", run)
    assert (code, "the training text is not what the run was trained with" in said) == (2, True), said


def test_a_run_by_the_minute_goes_on_past_the_steps_that_were_planned(run: Path) -> None:
    """Its schedule is fitted to the time, and the config says what was expected at first: here, 6 steps."""
    folder, quiet = RunFolder(run), Display(quiet=True)
    planned = read_progress(folder.checkpoint_path(6))
    progress = replace(planned, step=9, schedule=planned.schedule.refitted(5, 12))
    config, _ = config_to_continue(folder, progress, changes={}, texts=(), allowed=False, display=quiet)
    assert config.schedule.steps == 6
    assert schedule_to_continue(progress, config, quiet) == progress.schedule
    with pytest.raises(ValueError, match="the run is at step 9 already"):
        config_to_continue(folder, progress, changes={"schedule.steps": "7"}, texts=(), allowed=True, display=quiet)


def test_fewer_steps_than_there_are(run: Path, ensue: Ensue) -> None:
    code, said = ensue("train", "--resume", run, "--steps", 5, "--changed")
    assert (code, "the run is at step 6 already" in said) == (2, True)


def test_changed_goes_with_resume(data: Data, tmp_path: Path, ensue: Ensue) -> None:
    code, said = ensue("train", data.path, "--run", tmp_path / "run", "--changed")
    assert (code, "--changed goes with --resume" in said) == (2, True)


def hold(run: Path, start_process: Callable[..., subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """A process that continues a run for long, once it has begun."""
    process = start_process("train", "--resume", run, "--steps", 1_000_000, "--changed")
    deadline = time.monotonic() + 120
    while len(steps(run)) < 8:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_a_second_process_on_a_run_is_refused(
    run: Path, data: Data, tiny: list[str], ensue: Ensue, start_process: Callable[..., subprocess.Popen[str]]
) -> None:
    """The first goes on, and leaves the run to the next one as soon as it is killed."""
    process = hold(run, start_process)
    code, said = ensue("train", "--resume", run)
    assert code == 2
    assert f"process {process.pid} is working in {run}" in said
    assert f"kill {process.pid}" in said
    code, said = ensue("train", data.path, "--run", run, "--steps", 6, *SMALL, *tiny)
    assert (code, f"{run} already exists" in said) == (2, True)
    assert process.poll() is None, "it was not disturbed"
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    last = int(max(path.name for path in (run / "checkpoints").iterdir() if path.name.isdecimal()))
    code, said = ensue("train", "--resume", run, "--steps", last + 2, "--changed")
    assert code == 0, said
    assert steps(run) == list(range(1, last + 3))


PREPARING = """
import os, signal, sys
import ensue.recipes.data as recipe
write_shard = recipe.write_shard
def killed(*arguments, **options):
    write_shard(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
recipe.write_shard = killed
from ensue.cli import main
main(sys.argv[1:])
"""


def test_a_start_that_was_killed_while_it_prepared_is_simply_started_again(
    corpus: Path, tiny: list[str], tmp_path: Path, ensue: Ensue, start_process: Callable[..., subprocess.Popen[str]]
) -> None:
    """With the same command; what it had half written is gone, and only that."""
    run = tmp_path / "run"
    command = ["train", str(corpus), "--run", str(run), "--vocab", "300", "--steps", "2", *SMALL, *tiny]
    process = start_process(*command, code=PREPARING)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = [path.name for path in run.iterdir() if ".writing-" in path.name]
    assert left == [f".data.writing-{process.pid}"]
    (run / "notes.txt").write_text("mine")
    code, said = ensue(*command)
    assert (code, f"{run} already exists" in said) == (2, True), "somebody has put something there"
    (run / "notes.txt").unlink()
    code, said = ensue(*command)
    assert code == 0, said
    assert not [path.name for path in run.iterdir() if ".writing-" in path.name]
    assert steps(run) == [1, 2]


def test_what_a_killed_prepare_left_beside_its_target_is_cleared_by_the_next(
    corpus: Path, tmp_path: Path, ensue: Ensue, start_process: Callable[..., subprocess.Popen[str]]
) -> None:
    command = ["prepare", str(corpus), "--out", str(tmp_path / "data"), "--vocab", "300"]
    process = start_process(*command, code=PREPARING)
    process.communicate()
    assert [path.name for path in tmp_path.iterdir()] == [f".data.writing-{process.pid}"]
    (tmp_path / ".other.writing-1").mkdir()  # somebody else's, and of a process that lives
    code, said = ensue(*command)
    assert code == 0, said
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.writing-1", "data"]
