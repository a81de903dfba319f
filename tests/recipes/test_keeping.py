"""Which checkpoints are kept: the newest, the best, and what `best` and `final` are; and two ways of saving."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

import ensue as package
from ensue.recipes.data import Data

Ensue = Callable[..., tuple[int, str]]
SMALL = ["--recipe", "gpt2", "--batch.start", "4", "--batch.end", "4", "--evaluate_tokens", "700"]


def steps_of(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "checkpoints").iterdir())


def readings(run: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["val_loss"] for row in rows if "val_loss" in row and "val_tokens" not in row}


@pytest.fixture(scope="module")
def overfitted(data: Data, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose held-out loss falls and then rises, with a rate that grows until it unlearns."""
    from ensue.cli import main

    run = tmp_path_factory.mktemp("kept") / "run"
    options = "--steps 60 --optimizer.lr 2 --schedule.warmup 60 --clip none --save_every 30 --evaluate_every 5"
    assert main(["train", str(data.path), "--run", str(run), *SMALL, *tiny, *options.split()]) == 0
    return run


def test_the_best_is_kept_beside_the_newest(overfitted: Path) -> None:
    read = readings(overfitted)
    best = min(read, key=read.__getitem__)
    assert list(read) == list(range(5, 65, 5))
    assert best not in (55, 60), "or the test shows nothing"
    assert (overfitted / "best").resolve().name == f"{best:08}"
    assert (overfitted / "final").resolve().name == "00000060"
    kept = steps_of(overfitted)
    assert (best in kept, 60 in kept, len(kept)) == (True, True, 3), "two newest, and the best"
    assert package.load(overfitted / "best").path == overfitted / "best"
    assert package.load(overfitted).path.name == "00000060"


def test_the_user_is_told_of_a_best_that_is_not_the_last(overfitted: Path, tmp_path: Path, ensue: Ensue) -> None:
    run = shutil.copytree(overfitted, tmp_path / "run", symlinks=True)
    read = readings(run)
    code, said = ensue("train", "--resume", run)
    assert code == 0
    best = min(read, key=read.__getitem__)
    assert f"held-out loss was lowest, {read[best]:.3f}, at step {best}: {run / 'best'}" in said


def test_a_continued_run_remembers_its_best(overfitted: Path, tmp_path: Path, ensue: Ensue) -> None:
    run = shutil.copytree(overfitted, tmp_path / "run", symlinks=True)
    read = readings(run)
    best = min(read, key=read.__getitem__)
    code, said = ensue("train", "--resume", run, "--steps", 80, "--changed", "--optimizer.lr", "9")
    assert code == 0, said
    assert best == min(readings(run), key=readings(run).__getitem__), "or the test shows nothing"
    assert best in steps_of(run)
    assert (run / "best").resolve().name == f"{best:08}"


def test_no_best_where_none_is_asked_for(data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue) -> None:
    run = tmp_path / "run"
    options = ["--steps", 9, "--save_every", 3, "--evaluate_every", 1, "--keep_best", "false", "--keep_checkpoints", 1]
    code, said = ensue("train", data.path, "--run", run, *SMALL, *tiny, *options)
    assert code == 0, said
    assert steps_of(run) == [9]
    assert not (run / "best").exists()


def test_saving_beside_the_training_or_not_makes_the_same_files(
    data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue
) -> None:
    runs = {}
    for where in ("true", "false"):
        run = runs[where] = tmp_path / where
        options = ["--steps", 8, "--save_every", 2, "--evaluate_every", 0, "--keep_checkpoints", 0]
        background = ["--save_in_background", where]
        code, said = ensue("train", data.path, "--run", run, *SMALL, *tiny, *options, *background)
        assert code == 0, said
    assert steps_of(runs["true"]) == steps_of(runs["false"]) == [0, 2, 4, 6, 8]
    for path in (runs["true"] / "checkpoints").rglob("*.safetensors"):
        twin = runs["false"] / path.relative_to(runs["true"])
        assert path.read_bytes() == twin.read_bytes()
        assert load_file(path).keys() == load_file(twin).keys()
    saved = [json.loads(line) for line in (runs["true"] / "events.jsonl").read_text().splitlines()]
    assert [event["step"] for event in saved if event["event"] == "saved"] == [0, 2, 4, 6, 8]
