"""What a run tells: goodput over kills, norms by layer, curves for TensorBoard."""

import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ensue.recipes.data import Data

Ensue = Callable[..., tuple[int, str]]
SMALL = [
    "--recipe",
    "gpt2",
    "--batch.start",
    "2",
    "--batch.end",
    "2",
    "--evaluate_every",
    "0",
    "--save_every",
    "10",
    "--steps",
    "40",
]


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_goodput_counts_what_was_lost(data: Data, tiny: list[str], tmp_path: Path, forker: Any) -> None:
    """Steps that a kill took back are time, and no use; the time while nothing ran is neither."""
    run = tmp_path / "run"
    code, said = forker.run("train", data.path, "--run", run, *SMALL, *tiny, signals={18: "SIGKILL"})
    assert code == -9, said
    before = rows(run)
    assert before[-1]["step"] == 17
    code, said = forker.run("train", "--resume", run)
    assert code == 0, said
    told = [row for row in rows(run) if "loss" in row]
    assert [row["step"] for row in told] == list(range(1, 41))
    elapsed = [row["elapsed"] for row in told]
    assert elapsed == sorted(elapsed)
    start = next(row["step"] for row in told if row["elapsed"] > before[-1]["elapsed"])
    assert start in (1, 11), "what the first process spent is not forgotten with its steps"
    for place, row in enumerate(told):
        useful = sum(each["seconds"] for each in told[: place + 1])
        rounding = 0.001 / row["elapsed"]  # which is told in milliseconds
        assert row["goodput"] == pytest.approx(useful / row["elapsed"], rel=0.02 + rounding)
        assert 0 < row["goodput"] <= 1


def test_norms_of_layers_are_told_when_due(data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue) -> None:
    run, plain = tmp_path / "run", tmp_path / "plain"
    code, said = ensue("train", data.path, "--run", run, *SMALL, *tiny, "--norms_every", 10)
    assert code == 0, said
    told = [row for row in rows(run) if "loss" in row]
    assert [row["step"] for row in told if "grad_norms" in row] == [10, 20, 30, 40]
    for row in told[9::10]:
        assert row["grad_norms"].keys() == row["update_norms"].keys()
        assert math.hypot(*row["grad_norms"].values()) == pytest.approx(row["grad_norm"], rel=1e-3)
        assert all(norm > 0 for norm in row["update_norms"].values())
    code, said = ensue("train", data.path, "--run", plain, *SMALL, *tiny)
    assert code == 0, said
    assert [row["loss"] for row in rows(plain) if "loss" in row] == [row["loss"] for row in told]


def test_curves_for_tensorboard(data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue) -> None:
    """Read back by TensorBoard's own reader, with those of a run that was continued behind them."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    options = [*SMALL, *tiny, "--tensorboard", "true", "--norms_every", "20", "--evaluate_every", "20"]
    code, said = ensue("train", data.path, "--run", run, *options)
    assert code == 0, said
    shutil.rmtree(run / "checkpoints" / "00000040")
    code, said = ensue("train", "--resume", run)
    assert code == 0, said
    reader = events.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    told = [row for row in rows(run) if "loss" in row]
    curve = [(event.step, event.value) for event in reader.Scalars("loss")]
    assert [step for step, _ in curve] == list(range(1, 41)), "each step once"
    assert [value for _, value in curve] == pytest.approx([row["loss"] for row in told], rel=1e-6)
    tags = set(reader.Tags()["scalars"])
    assert {"lr", "grad_norm", "goodput", "val_loss", "grad_norms/blocks.0", "update_norms/token_embedding"} <= tags


def test_tensorboard_that_is_not_installed(
    data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch.utils.tensorboard", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    code, said = ensue("train", data.path, "--run", tmp_path / "run", *SMALL, *tiny, "--tensorboard", "true")
    assert code == 2
    assert "pip install 'ensue[tensorboard]'" in said
    assert not (tmp_path / "run").exists()
