"""Runs that meet a spike: it is skipped or gone back from, told, and the same after a kill and in a replay."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ensue.recipes.data import Data
from ensue.tokens.stream import BatchRamp, PackedStream

Ensue = Callable[..., tuple[int, str]]
SMALL = [
    "--recipe",
    "gpt2",
    "--steps",
    "60",
    "--lr",
    "1e-2",
    "--batch.start",
    "2",
    "--batch.end",
    "2",
    "--save_every",
    "10",
    "--evaluate_every",
    "20",
]
SPIKES = ["--spikes.window", "16", "--spikes.deviations", "10"]


@pytest.fixture(scope="module")
def spiky(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """One simple sentence over and over, and one document of bytes that nothing prepares for."""
    from ensue.recipes.data import prepare_files
    from ensue.recipes.display import Display

    folder = tmp_path_factory.mktemp("written") / "spiky"  # its name is in the documents' ids: always the same
    folder.mkdir()
    for number in range(24):
        (folder / f"{number:02}.txt").write_text("the cat sat on the mat. " * 12, encoding="utf-8")
    odd = "".join(chr(0x4E00 + (number * 7919) % 20000) for number in range(14))
    (folder / "odd.txt").write_text(odd, encoding="utf-8")
    out = tmp_path_factory.mktemp("prepared") / "data"
    return prepare_files([folder], out, vocab=265, tokenizer=None, seed=0, display=Display())


def train(ensue: Ensue, data: Data, run: Path, tiny: list[str], *more: str) -> str:
    code, said = ensue("train", data.path, "--run", run, *SMALL, *SPIKES, *tiny, *more)
    assert code == 0, said
    return said


def rows(run: Path) -> list[dict[str, Any]]:
    clocks = {"seconds", "elapsed", "goodput"}
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in clocks} for row in read]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "final" / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    here, there = weights(one), weights(other)
    return all(torch.equal(tensor, there[name]) for name, tensor in here.items())


@pytest.fixture(scope="module")
def runs(spiky: Data, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same run with each thing to do about spikes."""
    from ensue.cli import main

    folder = tmp_path_factory.mktemp("spike-runs")
    for action in ("off", "skip", "rollback"):
        command = ["train", str(spiky.path), "--run", str(folder / action), *SMALL, *SPIKES, *tiny]
        assert main([*command, "--spikes.action", action, "--keep_checkpoints", "0"]) == 0
    return {action: folder / action for action in ("off", "skip", "rollback")}


def test_off_is_the_plain_run(runs: dict[str, Path]) -> None:
    assert [row["step"] for row in rows(runs["off"]) if "loss" in row] == list(range(1, 61))
    assert not any("skipped" in row or "rolled_back_from" in row for row in rows(runs["off"]))


def test_a_skipped_step_is_told_and_changes_nothing(runs: dict[str, Path], spiky: Data, ensue: Ensue) -> None:
    told = rows(runs["skip"])
    skipped = [row for row in told if "skipped" in row]
    assert skipped, "the odd document is a spike"
    assert [row["step"] for row in told if "loss" in row] == list(range(1, 61))
    for row in skipped:
        assert re.fullmatch(r"(loss|gradient norm) [\d.]+ is above [\d.]+", row["skipped"])
    losses = [row["step"] for row in skipped if row["skipped"].startswith("loss")]
    assert losses
    assert all("odd.txt" in ensue("why", runs["skip"], "--step", step)[1] for step in losses)
    steps = [row for row in told if "loss" in row]
    fed = [after["tokens"] - before["tokens"] for before, after in pairwise(steps)]
    assert [size for size, row in zip(fed, steps[1:], strict=True) if "skipped" in row] == [0] * len(skipped)
    # Up to the first spike it is the plain run.
    first = skipped[0]["step"]
    plain = [row for row in rows(runs["off"]) if row["step"] < first]
    assert [row for row in told if row["step"] < first] == plain
    code, said = ensue("verify", runs["skip"], "--steps", "0:60")
    assert code == 0, said


def test_a_rollback_goes_on_behind_the_spike(runs: dict[str, Path], spiky: Data, ensue: Ensue) -> None:
    told = rows(runs["rollback"])
    back = [row for row in told if "rolled_back_from" in row]
    assert back, "the odd document is a spike"
    assert [row["step"] for row in told if "loss" in row] == list(range(1, 61)), "each step is told once"
    moved = 0
    for row in back:
        step = row["step"] - 1
        assert step % 10 == 0
        assert step < row["rolled_back_from"] <= step + 10
        moved += row["rolled_back_from"] - step
        assert row["moved"] == moved
    plain = PackedStream(spiky.train, context=16, batch=BatchRamp(2, 2), micro_batch=3, seed=0)
    for step, last in {row["step"]: row["moved"] for row in back}.items():
        _, said = ensue("why", runs["rollback"], "--step", step, "--json")
        read = {(each["id"], each["source"]) for each in json.loads(said)["documents"]}
        assert read == {(span.id, span.source) for span in plain.documents(step - 1 + last)}
    code, said = ensue("verify", runs["rollback"], "--steps", "0:60")
    assert code == 0, said


@pytest.mark.parametrize("action", ["skip", "rollback"])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_a_kill_before_or_behind_a_spike_changes_nothing(
    action: str,
    how: str,
    runs: dict[str, Path],
    spiky: Data,
    tiny: list[str],
    tmp_path: Path,
    forker: Any,
) -> None:
    """Stopped just before the spike, where SIGTERM leaves a checkpoint nearer to it, and again soon behind it."""
    kind = "skipped" if action == "skip" else "rolled_back_from"
    first = next(row for row in rows(runs[action]) if kind in row)
    spike = first["step"] if action == "skip" else first["rolled_back_from"]
    run = tmp_path / "run"
    options = [*SMALL, *SPIKES, *tiny, "--spikes.action", action, "--keep_checkpoints", "1"]
    command = ["train", str(spiky.path), "--run", str(run), *options]
    for count in (spike - 1, 4):
        code, said = forker.run(*command, signals={count: how})
        assert code == (-9 if how == "SIGKILL" else 143), said
        command = ["train", "--resume", str(run)]
    code, said = forker.run(*command)
    assert code == 0, said
    assert same(run, runs[action])
    assert rows(run) == rows(runs[action])


def test_a_spike_that_will_not_go_away_ends_a_rolling_run(
    spiky: Data, tiny: list[str], tmp_path: Path, ensue: Ensue
) -> None:
    """A rate that makes every way on a spike."""
    run = tmp_path / "run"
    options = [*SMALL, *tiny, "--spikes.action", "rollback", "--spikes.most", "2", "--optimizer.lr", "1e30"]
    code, said = ensue("train", spiky.path, "--run", run, *options)
    assert code == 3, said
    assert "Going back to" in said
    assert "2 times has not helped" in said
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["00000000"]
