"""A run that was killed, however and wherever, continues bit for bit as if nothing had happened."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ensue.recipes.data import Data

RECIPES = {
    "gpt": "--batch.start 4 --batch.end 4",
    "gpt3": "--batch.start 1 --batch.end 6 --batch.steps 8",
    "modern": "--batch.start 4 --batch.end 4 --sample_every 3 --separate_documents true --warm_start 2 --tied false",
}
"""AdamW with dropout 0.1; AdamW with a growing batch and banded layers; Muon from bigrams, with samples."""

KILLED_RUNS = """
import json, os, signal, sys, time
from pathlib import Path
import torch._dynamo  # once here, and not in each of the processes below
import ensue.core.tensor_file as tensor_file
from ensue.cli import main
from ensue.tokens.stream import SequenceStream

batches, write_past_cache = SequenceStream.batches, tensor_file.write_past_cache

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def killed_within_step_8(stream, step):
    for place, batch in enumerate(batches(stream, step)):
        if (step, place) == (7, 1):
            while not (run / "checkpoints" / "00000005").exists():  # it is written meanwhile
                time.sleep(0.001)
            die()
        yield batch

def stopped_within_step_8(stream, step):
    if step == 7:
        os.kill(os.getpid(), signal.SIGTERM)
    yield from batches(stream, step)

def killed_while_saving_step_10(path, data):
    write_past_cache(path, data)
    if ".00000010.writing" in str(path):
        with open(path, "r+b") as file:
            file.truncate(os.path.getsize(path) // 2)
        die()

for where, *arguments in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        run = Path(arguments[arguments.index("--run") + 1])
        if where == "step":
            SequenceStream.batches = killed_within_step_8
        elif where == "stop":
            SequenceStream.batches = stopped_within_step_8
        else:
            tensor_file.write_past_cache = killed_while_saving_step_10
        code = main(arguments)
        sys.stdout.flush()
        os._exit(code)
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""`ensue train` several times over, each in a process that really gets the signal, at a place that is known."""

PLACES = (("gpt", "step"), ("gpt3", "save"), ("modern", "step"), ("modern", "save"), ("gpt3", "stop"))


def train(data: Data, run: Path, recipe: str, tiny: list[str], steps: int, save_every: int) -> list[str]:
    length = ["--steps", str(steps), "--save_every", str(save_every), "--evaluate_every", str(save_every)]
    options = [*tiny, *RECIPES[recipe].split(), *length, "--keep_checkpoints", "99"]
    return ["train", str(data.path), "--run", str(run), "--recipe", recipe, *options]


CLOCKS = {"seconds", "elapsed", "goodput"}


def rows(run: Path) -> list[dict[str, Any]]:
    """All of metrics.jsonl but what clocks say, which nobody can repeat."""
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in read]


OF_THE_SOURCE = {"code", "chain", "receipts"}
"""Digests of Ensue's own source as it was, which somebody may be editing, and of rows that hold them."""


def receipts(run: Path) -> list[dict[str, Any]]:
    """The rows of steps in receipts.jsonl."""
    read = [json.loads(line) for line in (run / "receipts.jsonl").read_text().splitlines()]
    plain = [{name: value for name, value in row.items() if name not in OF_THE_SOURCE} for row in read]
    return [row for row in plain if "saved" not in row]


def state(run: Path) -> dict[str, Any]:
    """What the last checkpoint says of the training."""
    read: dict[str, Any] = json.loads((run / "final" / "training.json").read_text())
    return {**read, "record": {name: value for name, value in read["record"].items() if name not in OF_THE_SOURCE}}


def assert_same_run(run: Path, other: Path) -> None:
    """Weights, optimizer, schedule and every row are equal, to the bit."""
    assert (run / "final").resolve().name == (other / "final").resolve().name
    for name in ("model.safetensors", "optimizer.safetensors"):
        here, there = load_file(run / "final" / name), load_file(other / "final" / name)
        assert here.keys() == there.keys()
        assert here
        for key, tensor in here.items():
            assert torch.equal(tensor, there[key]), key
    assert state(run) == state(other)
    assert rows(run) == rows(other)
    assert receipts(run) == receipts(other)


@pytest.fixture(scope="module")
def killed(
    data: Data,
    tiny: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    start_process: Callable[..., subprocess.Popen[str]],
) -> dict[tuple[str, str], Path]:
    """Runs of 10 steps that save at 5, killed within step 8 or while saving step 10, or told to stop within step 8."""
    folder = tmp_path_factory.mktemp("killed")
    runs = {(recipe, where): folder / f"{recipe}-{where}" for recipe, where in PLACES}
    wanted = [[where, *train(data, run, recipe, tiny, 10, 5)] for (recipe, where), run in runs.items()]
    process = start_process(json.dumps(wanted), code=KILLED_RUNS)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert re.findall(r"ended with (-?\d+)", said) == ["-9", "-9", "-9", "-9", "143"], said
    stopped = runs["gpt3", "stop"]
    assert f"stopped by SIGTERM after a whole step. The newest checkpoint is {stopped}/checkpoints/00000008" in said
    assert f"ensue train --resume {stopped}" in said
    return runs


@pytest.mark.parametrize("recipe", ["gpt", "gpt3", "modern"])
def test_ten_steps_are_five_a_kill_and_five(
    recipe: str,
    killed: dict[tuple[str, str], Path],
    data: Data,
    tiny: list[str],
    tmp_path: Path,
    ensue: Callable[..., tuple[int, str]],
) -> None:
    whole = tmp_path / "whole"
    code, said = ensue(*train(data, whole, recipe, tiny, 10, 5))
    assert code == 0, said
    trained = [row for row in rows(whole) if "loss" in row]
    assert [row["step"] for row in trained] == list(range(1, 11))
    fed = [row["tokens"] for row in trained]
    assert (fed[0], fed[-1] - fed[-2]) == ((16, 96) if recipe == "gpt3" else (64, 64))
    for where, run in [(where, run) for (name, where), run in killed.items() if name == recipe]:
        left = sorted(path.name for path in (run / "checkpoints").iterdir())
        whole_ones = [name for name in left if not name.startswith(".")]
        assert whole_ones == ["00000000", "00000005", *(["00000008"] if where == "stop" else [])]
        assert any(name.startswith(".00000010.writing") for name in left) == (where == "save")
        assert [row["step"] for row in rows(run) if "loss" in row][-1] == {"step": 7, "stop": 8, "save": 10}[where]
        code, said = ensue("train", "--resume", run)
        assert code == 0, said
        assert f"from step {int(whole_ones[-1])} of 10" in said
        assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [*whole_ones, "00000010"]
        assert_same_run(run, whole)


def test_a_process_killed_from_outside(
    data: Data,
    tiny: list[str],
    tmp_path: Path,
    ensue: Callable[..., tuple[int, str]],
    start_process: Callable[..., subprocess.Popen[str]],
) -> None:
    """kill -9 wherever it happens to be after its first checkpoint."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = start_process(*train(data, run, "gpt", tiny, 200, 20))
    deadline = time.monotonic() + 300
    while not (run / "checkpoints" / "00000020").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (run / "final").exists()

    code, said = ensue("train", "--resume", run)
    assert code == 0, said
    assert re.search(r"from step \d+ of 200", said)
    code, said = ensue(*train(data, whole, "gpt", tiny, 200, 20))
    assert code == 0, said
    assert_same_run(run, whole)
    code, said = ensue("train", "--resume", whole)
    assert code == 0, said
    assert_same_run(run, whole)  # finished is finished
