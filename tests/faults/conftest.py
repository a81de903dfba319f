"""A tiny run that is done in a second, and the same run undisturbed, to compare whatever is done to it with."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

WORDS = [
    "the",
    "a",
    "model",
    "reads",
    "one",
    "line",
    "of",
    "plain",
    "text",
    "and",
    "writes",
    "what",
    "ensues",
    "after",
    "it",
    "when",
    "rivers",
    "carry",
    "stones",
    "to",
    "sea",
]
SHAPE = [
    "--layers",
    "1",
    "--width",
    "16",
    "--heads",
    "2",
    "--context",
    "16",
    "--micro_batch",
    "2",
    "--batch.start",
    "3",
    "--batch.end",
    "3",
]
SETTINGS = [
    "--recipe",
    "gpt",
    "--sample_every",
    "0",
    "--evaluate_every",
    "50",
    "--evaluate_tokens",
    "64",
    "--final_tokens",
    "256",
]
CLOCKS = {"seconds", "elapsed", "goodput"}


def command(data: Path, run: Path, steps: int, *more: str) -> list[str]:
    """What trains it: dropout, micro-batches of two sizes, and a checkpoint every five steps."""
    length = ["--steps", str(steps), "--save_every", "5"]
    return ["train", str(data), "--run", str(run), *length, *SHAPE, *SETTINGS, *more]


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of the run, without what clocks say."""
    read = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in read]


def assert_same_run(run: Path, other: Path) -> None:
    """The same weights, optimizer, metrics and chain of receipts, to the bit."""
    assert (run / "final").resolve().name == (other / "final").resolve().name
    for name in ("model.safetensors", "optimizer.safetensors"):
        here, there = load_file(run / "final" / name), load_file(other / "final" / name)
        assert here.keys() == there.keys()
        assert all(torch.equal(tensor, there[key]) for key, tensor in here.items()), name
    assert rows(run / "metrics.jsonl") == rows(other / "metrics.jsonl")
    told = [[row for row in rows(each / "receipts.jsonl") if "chain" in row] for each in (run, other)]
    states = [json.loads((each / "final" / "training.json").read_text()) for each in (run, other)]
    for each in (*told[0], *told[1], *(state["record"] for state in states)):
        for name in ("code", "chain", "receipts"):  # of this source as it was; somebody may be editing it
            each.pop(name, None)
    assert told[0] == told[1]
    assert states[0] == states[1]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ensue.recipes.data import prepare_files
    from ensue.recipes.display import Display

    folder = tmp_path_factory.mktemp("written") / "text"  # its name is in the documents' ids: always the same
    folder.mkdir()
    draw = random.Random(0)
    for number in range(24):
        lines = [" ".join(draw.choices(WORDS, k=9)).capitalize() + "." for _ in range(20)]
        (folder / f"{number:02}.txt").write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path_factory.mktemp("prepared") / "data"
    return prepare_files([folder], out, vocab=300, tokenizer=None, seed=0, display=Display()).path


@pytest.fixture(scope="session")
def train() -> Callable[..., list[str]]:
    return command


@pytest.fixture(scope="session")
def same_run() -> Callable[[Path, Path], None]:
    return assert_same_run


@pytest.fixture(scope="session")
def undisturbed(data: Path, forker: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The run of so many steps to which nothing happened; made once."""
    folder = tmp_path_factory.mktemp("undisturbed")

    def of(steps: int) -> Path:
        run = folder / str(steps)
        if not run.exists():
            code, said = forker.run(*command(data, run, steps))
            assert code == 0, said
        return run

    return of
