"""A tuning that was killed anywhere, stopped, out of disk or gone astray: what it says, and that it goes on exactly."""

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

Call = Callable[..., tuple[int, str]]
OPTIONS = "--batch 8 --epochs 3 --lr 0.003 --precision fp32 --micro-tokens 200"
STEPS = 18

KILLED = """
import json, os, signal, sys
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot  # once here, and not in each of the processes below
import ensue.core.tensor_file as tensor_file
import ensue.recipes.finetuning.start
from ensue import cli
from ensue.verbs.tuning import Finetune
from ensue.train.engine import Engine

cli.VERBS.setdefault("finetune", Finetune)
step, write_past_cache = Engine.step, tensor_file.write_past_cache

def die(number):
    os.kill(os.getpid(), number)

def at_step(wanted, number):
    def counted(engine, index):
        if index == wanted:
            die(number)
        return step(engine, index)
    Engine.step = counted

def while_saving(wanted):
    def write(path, data):
        write_past_cache(path, data)
        if f".{wanted:08d}.writing" in str(path):
            with open(path, "r+b") as file:
                file.truncate(os.path.getsize(path) // 2)
            die(signal.SIGKILL)
    tensor_file.write_past_cache = write

for how, where, arguments in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        if how == "save":
            while_saving(where)
        elif how == "validate":
            import ensue.recipes.finetuning.task_work as task_work
            task_work.readings = lambda *_, **__: die(signal.SIGKILL)
        elif how:
            at_step(where, getattr(signal, how))
        code = cli.main(arguments)
        sys.stdout.flush()
        os._exit(code)
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""`ensue finetune` several times over, each in a process that really gets the signal, at a place that is known."""

CLOCKS = {"seconds"}


def rows(run: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCKS} for row in read]


def assert_same_run(run: Path, other: Path) -> None:
    """Weights, head, optimizer and every row are equal, to the bit."""
    for link in ("final", "best"):
        assert (run / link).resolve().name == (other / link).resolve().name
        for name in ("model.safetensors", "head.safetensors", "optimizer.safetensors"):
            here, there = load_file(run / link / name), load_file(other / link / name)
            assert here.keys() == there.keys()
            assert all(torch.equal(tensor, there[key]) for key, tensor in here.items()), name
    assert rows(run) == rows(other)


def start(process: Callable[..., Any], orders: list[tuple[str, int, list[str]]]) -> list[int]:
    running = process(json.dumps(orders), code=KILLED)
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 0, said
    return [int(line.split()[-1]) for line in said.splitlines() if line.startswith("ended with")]


def test_a_kill_anywhere_changes_nothing(
    model: Path, tables: dict[str, Path], tmp_path: Path, start_process: Callable[..., subprocess.Popen[str]]
) -> None:
    """With dropout, several micro-batches a step, and checkpoints every 4 steps that do not meet the epochs' ends."""
    draw = random.Random(os.getpid())
    whole, runs = tmp_path / "whole", [tmp_path / how for how in ("SIGKILL", "save", "validate")]

    def command(run: Path) -> list[str]:
        options = "--batch 24 --epochs 2 --lr 0.003 --precision fp32 --micro-tokens 400 --save-every 4 --task choice"
        return ["finetune", str(model), str(tables["choice"]), "--run", str(run), *options.split()]

    orders: list[tuple[str, int, list[str]]] = [("", 0, command(whole))]
    for run in runs:
        resume = ["finetune", "--resume", str(run)]
        where = draw.choice([4, 8, 12, 16]) if run.name == "save" else draw.randrange(1, STEPS)
        orders.append((run.name, where, command(run)))
        if run.name == "SIGKILL":
            orders.append(("SIGKILL", STEPS - 1, resume))
        orders.append(("", 0, resume))
    assert start(start_process, orders) == [0, -9, -9, 0, -9, 0, -9, 0], orders
    trained = [row["step"] for row in rows(whole) if "loss" in row]
    assert trained == list(range(1, STEPS + 1))
    for run in runs:
        assert_same_run(run, whole)


def test_a_stop_finishes_the_step_and_says_how_to_continue(
    model: Path, tables: dict[str, Path], tmp_path: Path, ensue: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ensue.train.engine import Engine

    run, step = tmp_path / "run", Engine.step

    def interrupted(engine: Engine, index: int) -> Any:
        if index == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(engine, index)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "step", interrupted)
        code, said = ensue("finetune", model, tables["classify"], "--run", run, *OPTIONS.split())
    assert code == 143
    assert f"The newest checkpoint is {run}/checkpoints/00000005" in said
    assert f"ensue finetune --resume {run}" in said
    code, said = ensue("finetune", "--resume", run)
    assert code == 0, said
    assert "from step 5 of 81" in said


def test_a_loss_that_runs_away_names_the_rows(
    model: Path, tables: dict[str, Path], tmp_path: Path, ensue: Call
) -> None:
    run = tmp_path / "run"
    options = [*OPTIONS.split(), "--lr", "1e30", "--clip", "1e30"]
    code, said = ensue("finetune", model, tables["classify"], "--run", run, *options)
    assert code == 3
    assert "is not a finite number, so no weight was changed" in said
    assert "classify.jsonl:" in said
    assert "A lower --lr usually helps" in said
    assert (run / "checkpoints" / "00000000").is_dir()


def test_a_full_disk(
    model: Path, tables: dict[str, Path], tmp_path: Path, ensue: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    import ensue.core.tensor_file as tensor_file

    run, write = tmp_path / "run", tensor_file.write_past_cache

    def full(path: Path, data: memoryview) -> None:
        if ".00000027.writing" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(tensor_file, "write_past_cache", full)
        code, said = ensue("finetune", model, tables["classify"], "--run", run, *OPTIONS.split())
    assert code == 4
    assert "No space left on device" in said
    assert f"Free some space. The newest checkpoint is {run}/checkpoints/00000000" in said
    code, said = ensue("finetune", "--resume", run)
    assert code == 0, said


def test_what_a_run_is_not_continued_with(
    model: Path,
    tables: dict[str, Path],
    tmp_path: Path,
    ensue: Call,
    write_rows: Callable[..., Path],
    make_rows: Callable[..., Any],
) -> None:
    table, run = write_rows(tmp_path / "mine.jsonl", make_rows("classify", 60, 3)), tmp_path / "run"
    code, said = ensue("finetune", model, table, "--run", run, *OPTIONS.split())
    assert code == 0, said
    code, said = ensue("finetune", model, table, "--run", run, *OPTIONS.split())
    assert code == 2
    assert f"{run} already exists. To continue it, type: ensue finetune --resume {run}" in said
    code, said = ensue("finetune", model, table, "--resume", run)
    assert code == 2
    assert "give it alone" in said
    write_rows(table, make_rows("classify", 60, 4))
    code, said = ensue("finetune", "--resume", run)
    assert code == 2
    assert f"the train data is not what {run} was trained with" in said
    table.unlink()
    code, said = ensue("finetune", "--resume", run)
    assert code == 2
    assert f"there is no file {table}" in said
