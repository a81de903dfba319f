"""`ensue train` under torchrun: a process that dies, a run that goes on alone, and what cannot be shared out."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ensue as package
from ensue.model.presets import gpt2
from ensue.recipes.crew import place_of_this
from ensue.recipes.data import Data
from ensue.recipes.papers import train_gpt2
from ensue.recipes.run_config import RunConfig
from ensue.tokens.stream import BatchRamp
from ensue.train.parallel import ParallelConfig

STEPS = 300
SHAPE = "--layers 2 --width 32 --heads 4 --context 16 --micro_batch 2 --batch.start 1 --batch.end 5 --batch.steps 9"
OPTIONS = (
    f"--recipe gpt3 --steps {STEPS} --save_every 20 --evaluate_every 150 --sample_every 150 --precision fp32 {SHAPE}"
)


def two_processes(data: Data, run: Path, *more: str, restarts: int = 0) -> subprocess.Popen[str]:
    return two_of(["train", str(data.path), "--run", str(run), *OPTIONS.split(), *more], restarts=restarts)


def two_of(arguments: Sequence[str], *, restarts: int = 0) -> subprocess.Popen[str]:
    """Two processes of `ensue` with these arguments, under torchrun."""
    start = f"-m torch.distributed.run --standalone --nproc-per-node 2 --max-restarts {restarts} -m ensue.cli --"
    return subprocess.Popen(
        [sys.executable, *start.split(), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Without the second, torch 2.13 gives processes that it starts again the addresses of those before them.
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )


def pid_of(rank: int, launcher: int) -> int:
    """The process that torchrun has made process `rank` of the run."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    wanted = f"RANK={rank}"
    return next(int(pid) for pid in children if wanted in Path(f"/proc/{pid}/environ").read_text().split("\0"))


def wait_for(checkpoint: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 900
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_same_end(run: Path, other: Path) -> None:
    """The same weights and optimizer, to the bit."""
    for name in ("model.safetensors", "optimizer.safetensors"):
        here, there = load_file(run / "final" / name), load_file(other / "final" / name)
        assert list(here) == list(there)
        assert all(torch.equal(tensor, there[key]) for key, tensor in here.items())


@pytest.fixture(scope="module")
def undisturbed(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    process = two_processes(data, run)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    assert said.count("the run\n") == 1, said  # process 0 speaks for all
    assert len(list((run / "samples").iterdir())) == 2
    return run


@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_that_loses_a_process_ends_with_the_weights_of_one_that_does_not(
    rank: int, data: Data, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = two_processes(data, run, restarts=1)
    wait_for(run / "checkpoints" / "00000040", process)
    os.kill(pid_of(rank, process.pid), signal.SIGKILL)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    assert f"process {1 - rank} of 2 has lost another one of this run (Connection" in said
    if rank == 1:  # process 0 knows how to go on
        assert f"-m ensue.cli -- train --resume {run}" in said
    assert f"started again after a process was lost: continuing {run}" in said
    assert_same_end(run, undisturbed)
    assert package.load(run).generate("the", max_new_tokens=3) == package.load(undisturbed).generate(
        "the", max_new_tokens=3
    )


def test_sigterm_to_torchrun_ends_all_of_them_with_a_checkpoint(data: Data, undisturbed: Path, tmp_path: Path) -> None:
    """As a cluster's scheduler does it: both finish the step, it is saved, and the run goes on to the same weights."""
    run = tmp_path / "run"
    process = two_processes(data, run)
    wait_for(run / "checkpoints" / "00000040", process)
    workers = [pid_of(rank, process.pid) for rank in (0, 1)]
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=900)
    assert "stopped by SIGTERM after a whole step" in said, said
    assert f"-m ensue.cli -- train --resume {run}" in said
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    newest = max(path.name for path in (run / "checkpoints").iterdir())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert 40 <= int(newest) == last < STEPS
    again = two_of(["train", "--resume", str(run)])
    said, _ = again.communicate(timeout=900)
    assert again.returncode == 0, said
    assert_same_end(run, undisturbed)


def test_a_run_of_two_goes_on_as_one(
    data: Data, undisturbed: Path, tmp_path: Path, ensue: Callable[..., tuple[int, str]]
) -> None:
    """Its last steps again in this process."""
    alone = tmp_path / "alone"
    subprocess.run(["cp", "-r", str(undisturbed), str(alone)], check=True)
    newest = sorted((alone / "checkpoints").iterdir())[-1]
    assert int(newest.name) == STEPS
    subprocess.run(["rm", "-r", str(newest), str(alone / "final")], check=True)
    code, said = ensue("train", "--resume", alone)
    assert code == 0, said
    assert f"from step {STEPS - 20} of {STEPS}" in said
    for name in ("model.safetensors", "optimizer.safetensors"):
        here, there = load_file(alone / "final" / name), load_file(undisturbed / "final" / name)
        assert here.keys() == there.keys()
        for key, tensor in here.items():
            torch.testing.assert_close(tensor, there[key], rtol=0, atol=1e-5)


def test_a_run_of_two_is_verified_by_two(undisturbed: Path, ensue: Callable[..., tuple[int, str]]) -> None:
    """One process would add up otherwise: it is told what to type, and no difference that is none."""
    window = ["verify", str(undisturbed), "--steps", f"{STEPS - 20}:{STEPS}"]
    code, said = ensue(*window)
    assert (code, "trained these steps on 2 processes" in said) == (2, True), said
    assert f"torchrun --standalone --nproc-per-node 2 -m ensue.cli -- {' '.join(window)}" in said
    process = two_of(window)
    told, _ = process.communicate(timeout=900)
    assert process.returncode == 0, told
    assert f"bit-identical: steps {STEPS - 19} to {STEPS}" in told


def test_a_window_in_which_the_processes_became_fewer(
    undisturbed: Path, tmp_path: Path, ensue: Callable[..., tuple[int, str]]
) -> None:
    run = tmp_path / "run"
    subprocess.run(["cp", "-r", str(undisturbed), str(run)], check=True)
    code, said = ensue("train", "--resume", run, "--steps", STEPS + 4, "--changed")
    assert code == 0, said
    code, said = ensue("verify", run, "--steps", f"0:{STEPS + 4}")
    assert code == 2, said
    assert f"the number of processes changed after step {STEPS}; verify what is before it with" in said
    code, said = ensue("verify", run, "--steps", f"{STEPS}:{STEPS + 4}")
    assert code == 0, said


def test_a_mistake_is_the_last_thing_that_torchrun_says(data: Data, tmp_path: Path) -> None:
    process = two_processes(data, tmp_path / "run", "--batch.end", "1", "--batch.start", "1")
    said, _ = process.communicate(timeout=900)
    assert process.returncode != 0
    assert not (tmp_path / "run").exists()
    assert "traceback : a batch of 1 sequences has none for some of 2 processes" in said[-600:], said


def config_of(**changes: object) -> RunConfig:
    model = gpt2(layers=1, width=24, heads=6, context=8, vocab=300)
    return replace(train_gpt2(model, 1000, 10), batch=BatchRamp(1, 4, 2), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parallel": ParallelConfig(shard=3)}, r"data null x shard 3 x tensor 1 is for 3 processes .* this run has 8"),
        ({"parallel": ParallelConfig(tensor=4)}, r"6 heads cannot be shared by --parallel.tensor 4"),
        ({}, r"a batch of 4 sequences has none for some of 8 processes .* --batch.end 8 or more"),
        ({"parallel": ParallelConfig(data=1, shard=4, tensor=2), "norms_every": 5}, r"type --norms_every 0"),
    ],
)
def test_what_cannot_be_shared_out(changes: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(ValueError, match=said):
        place_of_this(config_of(**changes))


def test_a_ramp_may_begin_below_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    place = place_of_this(config_of())
    assert (place.rank, place.data, place.shard, place.tensor) == (3, 4, 1, 1)


def test_a_preset_that_cannot_fit(data: Data, tmp_path: Path, ensue: Callable[..., tuple[int, str]]) -> None:
    options = ["--recipe", "gpt3", "--preset", "gpt3-175b", "--steps", "2"]
    code, said = ensue("train", data.path, "--run", tmp_path / "run", *options)
    assert code == 2
    assert "need 2,783.8 GB of each process" in said
    assert "The largest preset of gpt3 for which that is enough is gpt3-" in said
    assert "ensue plan" in said
    assert not (tmp_path / "run").exists()
