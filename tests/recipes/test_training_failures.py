"""What can go wrong in a run, and that nothing is lost by it."""

import json
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import load_file

import ensue as package
from ensue.recipes.data import Data

Ensue = Callable[..., tuple[int, str]]
SMALL = ["--recipe", "gpt2", "--batch.start", "2", "--batch.end", "2"]
SMALL += ["--evaluate_every", "0", "--save_every", "2", "--keep_checkpoints", "99"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(corpus: Path, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 6 steps from text, so that its data lies inside it; copy it before breaking it."""
    from ensue.cli import main

    run = tmp_path_factory.mktemp("runs") / "finished"
    options = ["--vocab", "300", "--steps", "6", *tiny, *SMALL]
    assert main(["train", str(corpus), "--run", str(run), *options]) == 0
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run", symlinks=True))


def test_a_loss_that_is_no_number(data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue) -> None:
    run = tmp_path / "run"
    code, said = ensue("train", data.path, "--run", run, "--steps", 9, *tiny, *SMALL, "--optimizer.lr", "1e30")
    assert code == 3
    assert "step 2: " in said
    assert "is not a finite number, so no weight was changed" in said
    named = [line.split() for line in said.splitlines() if line.endswith(".txt")]
    known = {(span.id, span.source) for span in data.train.spans(range(data.train.count))}
    assert named
    assert {(id, source) for id, source in named} <= known
    assert f"last good checkpoint is {run / 'checkpoints' / '00000000'}" in said
    assert "--optimizer.lr" in said
    assert [row["step"] for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())] == [1]
    assert package.load(run).generate("the", max_new_tokens=3)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond this: writes fail as they do on a full disk, whoever we are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_be_written(data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue) -> None:
    """The optimizer's file, twice the size of the weights', does not fit; the first checkpoint has none."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    options = ["--steps", 6, *tiny, *SMALL]
    code, said = ensue("train", data.path, "--run", whole, *options)
    assert code == 0, said
    weights = (whole / "final" / "model.safetensors").stat().st_size
    assert (whole / "final" / "optimizer.safetensors").stat().st_size > 1.5 * weights
    with file_size_limit(int(1.5 * weights)):
        code, said = ensue("train", data.path, "--run", run, *options)
    assert code == 4, said
    assert "could not save" in said
    assert f"ensue train --resume {run}" in said
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["00000000"]
    assert package.load(run).generate("the", max_new_tokens=3)
    code, said = ensue("train", "--resume", run)
    assert code == 0, said
    assert contents(run / "final") == contents(whole / "final")


def test_a_full_disk(data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue) -> None:
    disk, whole = tmp_path / "disk", tmp_path / "whole"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small disk to fill")
    try:
        options = ["--steps", 12, *tiny, *SMALL]
        code, said = ensue("train", data.path, "--run", disk / "run", *options)
        assert code == 4, said
        assert "could not save" in said
        assert "No space left" in said
        saved = sorted(path.name for path in (disk / "run" / "checkpoints").iterdir())
        assert "00000002" <= saved[-1] < "00000012"
        assert str(disk / "run" / "checkpoints" / saved[-1]) in said
        assert package.load(disk / "run").path.name == saved[-1]
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        code, said = ensue("train", "--resume", disk / "run")
        assert code == 0, said
        assert f"from step {int(saved[-1])} of 12" in said
        code, said = ensue("train", data.path, "--run", whole, *options)
        assert code == 0, said
        assert contents(disk / "run" / "final") == contents(whole / "final")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_no_room_for_the_first_checkpoint(data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue) -> None:
    with file_size_limit(10_000):
        code, said = ensue("train", data.path, "--run", tmp_path / "run", "--steps", 6, *tiny, *SMALL)
    assert code == 4, said
    assert "Free some space" in said
    assert not list(tmp_path.iterdir())


def test_a_run_that_exists_is_left_alone(run: Path, data: Data, tiny: list[str], ensue: Ensue) -> None:
    before = contents(run)
    code, said = ensue("train", data.path, "--run", run, "--steps", 6, *tiny, *SMALL)
    assert code == 2
    assert f"{run} already exists" in said
    assert f"ensue train --resume {run}" in said
    assert contents(run) == before


def test_nothing_to_resume(run: Path, tmp_path: Path, ensue: Ensue) -> None:
    code, said = ensue("train", "--resume", tmp_path / "nowhere")
    assert (code, "there is no run at" in said) == (2, True)
    code, said = ensue("train", "--resume", tmp_path)
    assert (code, "is not a run folder" in said) == (2, True)
    code, said = ensue("train", "--resume", run, "--run", "elsewhere")
    assert (code, "give nothing else" in said) == (2, True)
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    code, said = ensue("train", "--resume", run)
    assert code == 2
    assert "has no checkpoint to continue from" in said


FILES = (
    "model.safetensors",
    "optimizer.safetensors",
    "training.json",
    "config.json",
    "tokenizer.json",
    "ensue.json",
    "checksums.json",
)


def damage_file(path: Path, damage: str) -> None:
    held = path.read_bytes()
    middle = len(held) // 2
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(held[:middle])
    else:
        path.write_bytes(held[:middle] + bytes([held[middle] ^ 1]) + held[middle + 1 :])


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_named_and_set_aside(
    name: str, damage: str, run: Path, finished: Path, ensue: Ensue
) -> None:
    """The one before it goes on to the same end."""
    newest = run / "checkpoints" / "00000006"
    damage_file(newest / name, damage)
    broken = contents(newest)
    code, said = ensue("train", "--resume", run)
    assert code == 0, said
    # A flipped bit in the checksums accuses the file it belongs to.
    assert str(newest if name == "checksums.json" else newest / name) in said
    aside = run / "checkpoints" / "00000006.damaged"
    assert f"set aside as {aside}" in said
    assert "from step 4 of 6" in said
    assert contents(aside) == broken
    assert contents(run / "final") == contents(finished / "final")
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [(event["step"], name in event["reason"]) for event in events if event["event"] == "damaged"] == [(6, True)]


def test_where_no_checkpoint_is_whole_nothing_is_touched(run: Path, ensue: Ensue) -> None:
    paths = sorted((run / "checkpoints").glob("*/model.safetensors"))
    for path in paths:
        damage_file(path, "flipped")
    before = contents(run / "checkpoints")
    code, said = ensue("train", "--resume", run)
    assert code == 2, said
    assert len(paths) == 4
    assert all(str(path) in said for path in paths)
    assert contents(run / "checkpoints") == before


def test_the_checkpoint_before_a_damaged_one_continues(run: Path, finished: Path, ensue: Ensue) -> None:
    shutil.rmtree(run / "checkpoints" / "00000006")
    code, said = ensue("train", "--resume", run)
    assert code == 0, said
    assert "from step 4 of 6" in said
    assert contents(run / "final") == contents(finished / "final")


def test_a_moved_run_continues(run: Path, finished: Path, tmp_path: Path, ensue: Ensue) -> None:
    """With the checkpoints and the data that are in it, from wherever the user now is."""
    moved = run.rename(tmp_path / "another name")
    shutil.rmtree(moved / "checkpoints" / "00000006")
    code, said = ensue("train", "--resume", moved)
    assert code == 0, said
    mine, theirs = (load_file(folder / "final" / "model.safetensors") for folder in (moved, finished))
    assert all(bool((mine[name] == theirs[name]).all()) for name in theirs)
    assert package.load(moved).path == (moved / "checkpoints" / "00000006").resolve()


def test_data_of_another_tokenizer_is_refused(run: Path, corpus: Path, tmp_path: Path, ensue: Ensue) -> None:
    code, said = ensue("prepare", corpus, "--out", tmp_path / "other", "--vocab", 299)
    assert code == 0, said
    shutil.rmtree(run / "data")
    code, said = ensue("train", "--resume", run)
    assert code == 2
    assert str(run / "data") in said
    shutil.move(tmp_path / "other", run / "data")
    code, said = ensue("train", "--resume", run)
    assert code == 2
    assert "another tokenizer" in said
