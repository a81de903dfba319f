"""Runs of 2 and 4 processes under torchrun against the same run in this one: losses, norms, weights, batches."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ensue.core.config import to_dict
from ensue.loss.next_token import NextToken
from ensue.model.gpt import GPT
from ensue.model.presets import gpt, gpt3, modern
from ensue.model.weights import load_model
from ensue.model.weights.huggingface import config_text, stored_tensors
from ensue.recipes.data import Data, prepare_files
from ensue.recipes.display import Display
from ensue.recipes.held_out import held_out_loss
from ensue.recipes.run_config import RunConfig
from ensue.tokens.stream import BatchRamp, PackedStream
from ensue.train.checkpoint import gather, load_checkpoint, write_checkpoint
from ensue.train.engine import Engine, Step
from ensue.train.optimizer import Optimizer, OptimizerConfig
from ensue.train.parallel import ParallelConfig
from ensue.train.schedule import Schedule

STEPS, HALF = 6, 3
SHAPE = {"layers": 2, "width": 32, "heads": 4, "context": 16, "vocab": 300}
MODELS = {
    "gpt3": gpt3(**SHAPE),
    "modern": replace(modern(**SHAPE), tied=False, residual_init="scaled"),
    "gpt": replace(gpt(**SHAPE), embedding_dropout=0.0, attention_dropout=0.0, residual_dropout=0.0),
}
"""AdamW under a ramp that begins below the number of processes; Muon, gains that all heads share, a head of its own,
documents apart; norms after the sums, and none at the end."""

ROUNDING = 5e-6
"""Of losses, norms and weights, all near 1; a wrong sum shows in the first digits."""

Named = Mapping[str, Any]


def config_of(model: str, data: Path, parallel: ParallelConfig) -> RunConfig:
    muon = model == "modern"
    return RunConfig(
        model=MODELS[model],
        optimizer=OptimizerConfig(kind="muon" if muon else "adamw", lr=1e-3, clip=1.0),
        schedule=Schedule("cosine", warmup=2, steps=STEPS),
        batch=BatchRamp(6, 6) if muon else BatchRamp(1, 7, 5),
        micro_batch=2,
        data=str(data),
        separate_documents=muon,
        precision="fp32",
        device="cpu",
        seed=3,
        parallel=parallel,
    )


def engine_of(config: RunConfig, data: Data, model: GPT) -> Engine:
    """The plain engine of one process, wired here."""
    stream = PackedStream(
        data.train,
        context=config.model.context,
        batch=config.batch,
        micro_batch=config.micro_batch,
        seed=config.seed,
        segments=config.separate_documents,
    )
    return Engine(
        model=model,
        objective=NextToken(),
        stream=stream,
        optimizer=Optimizer(model, config.optimizer),
        schedule=config.schedule,
        clip=config.optimizer.clip,
        device=torch.device("cpu"),
        precision="fp32",
        seed=config.seed,
    )


class Alone:
    """A model's run in this process: its steps, its held-out loss, and checkpoints half way and at the end."""

    def __init__(self, model: str, data: Data, out: Path) -> None:
        config = config_of(model, data.path, ParallelConfig())
        engine = engine_of(config, data, GPT.build(config.model, config.seed))
        self.steps: list[Step] = []
        for index in range(STEPS):
            if index == HALF:
                self.half = save(engine, HALF, out / f"{model}-half")
            self.steps.append(engine.step(index))
        self.end = save(engine, STEPS, out / f"{model}-end")
        assert isinstance(engine.model, GPT)
        read = held_out_loss(
            engine.model, data.held_out, objective=NextToken(), micro_batch=2, precision="fp32", stride=8
        )
        self.held_out = read.nats


def save(engine: Engine, step: int, folder: Path) -> Path:
    assert isinstance(engine.model, GPT)
    files = {"config.json": config_text(engine.model).encode()}
    tensors = {"model.safetensors": stored_tensors(engine.model)}
    write_checkpoint(gather(engine, step=step, model_files=files, model_tensors=tensors, record={}), folder)
    return folder


def case(name: str, config: RunConfig, *, checkpoint: Path | None = None, rewind: bool = False) -> dict[str, Any]:
    start = HALF if checkpoint is not None else 0
    place = None if checkpoint is None else str(checkpoint)
    return {"name": name, "config": to_dict(config), "start": start, "checkpoint": place, "rewind": rewind}


def together(cases: list[dict[str, Any]], processes: int, out: Path) -> dict[str, Any]:
    """The results of all cases, from one start of so many processes."""
    out.mkdir()
    (out / "cases.json").write_text(json.dumps(cases))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [
            sys.executable,
            *command,
            str(Path(__file__).with_name("parallel_work.py")),
            str(out / "cases.json"),
            str(out),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    return results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parallel")


@pytest.fixture(scope="module")
def data(folder: Path) -> Data:
    torch.set_num_threads(1)
    text = folder / "text"
    text.mkdir()
    for number in range(12):
        words = [f"{(number * 7919 + place * place * 31) % 211:b}" for place in range(150)]
        (text / f"{number}.txt").write_text(" ".join(words), encoding="utf-8")
    prepared = prepare_files([text], folder / "data", vocab=300, tokenizer=None, seed=0, display=Display(quiet=True))
    assert prepared.tokenizer.vocab_size <= SHAPE["vocab"]
    return prepared


@pytest.fixture(scope="module")
def alone(data: Data, folder: Path) -> dict[str, Alone]:
    return {model: Alone(model, data, folder) for model in MODELS}


TWO = {
    "ddp": ParallelConfig(),
    "fsdp": ParallelConfig(shard=None),
    "tp": ParallelConfig(tensor=2),
    "recompute": ParallelConfig(recompute=True),
    "fsdp recompute": ParallelConfig(shard=2, recompute=True),
}
FOUR = {
    "fsdp x tp": ParallelConfig(shard=2, tensor=2),
    "copies x fsdp": ParallelConfig(data=2, shard=2),
    "copies x tp": ParallelConfig(data=2, shard=1, tensor=2),
    "tp of 4": ParallelConfig(data=1, tensor=4),
}
CASES_OF_TWO = [
    *((model, mesh) for model in ("gpt3", "modern") for mesh in ("ddp", "fsdp", "tp")),
    ("gpt", "tp"),
    ("gpt", "recompute"),
    ("modern", "fsdp recompute"),
]
CASES_OF_FOUR = [("gpt3", mesh) for mesh in FOUR] + [("modern", "fsdp x tp"), ("modern", "copies x tp")]
RESUMED = [("gpt3", "ddp"), ("gpt3", "fsdp"), ("modern", "tp")]


@pytest.fixture(scope="module")
def two(data: Data, alone: dict[str, Alone], folder: Path) -> dict[str, Any]:
    cases = [case(f"{model} {mesh}", config_of(model, data.path, TWO[mesh])) for model, mesh in CASES_OF_TWO]
    for model, mesh in RESUMED:
        config = config_of(model, data.path, TWO[mesh])
        cases.append(case(f"resumed {model} {mesh}", config, checkpoint=alone[model].half, rewind=mesh != "fsdp"))
    return together(cases, 2, folder / "two")


@pytest.fixture(scope="module")
def four(data: Data, alone: dict[str, Alone], folder: Path) -> dict[str, Any]:
    cases = [case(f"{model} {mesh}", config_of(model, data.path, FOUR[mesh])) for model, mesh in CASES_OF_FOUR]
    return together(cases, 4, folder / "four")


def assert_same(result: Named, saved: Path, alone: Alone, *, start: int = 0) -> None:
    """Step for step and weight for weight the run of one process, but for rounding."""
    steps = alone.steps[start:]
    assert result["tokens"] == [step.tokens for step in steps]
    assert result["loss"] == pytest.approx([step.loss for step in steps], rel=ROUNDING)
    assert result["grad_norm"] == pytest.approx([step.grad_norm for step in steps], rel=ROUNDING)
    assert result["held_out"] == pytest.approx(alone.held_out, rel=ROUNDING)
    for name in ("model.safetensors", "optimizer.safetensors"):
        here, there = load_file(saved / name), load_file(alone.end / name)
        assert list(here) == list(there)
        for key, tensor in there.items():
            assert here[key].shape == tensor.shape, key
            assert here[key].dtype == tensor.dtype, key
            torch.testing.assert_close(
                here[key], tensor, rtol=0, atol=ROUNDING, msg=lambda text, key=key: f"{key}: {text}"
            )
    assert (saved / "training.json").read_text() != ""


@pytest.mark.parametrize(("model", "mesh"), CASES_OF_TWO)
def test_two_processes_train_as_one_does(
    model: str, mesh: str, two: dict[str, Any], alone: dict[str, Alone], folder: Path
) -> None:
    name = f"{model} {mesh}"
    assert_same(two[name], folder / "two" / name, alone[model])


@pytest.mark.parametrize(("model", "mesh"), CASES_OF_FOUR)
def test_four_processes_train_as_one_does(
    model: str, mesh: str, four: dict[str, Any], alone: dict[str, Alone], folder: Path
) -> None:
    name = f"{model} {mesh}"
    assert_same(four[name], folder / "four" / name, alone[model])


@pytest.mark.parametrize(("model", "mesh"), RESUMED)
def test_one_process_goes_on_as_two_and_two_as_one(
    model: str, mesh: str, two: dict[str, Any], alone: dict[str, Alone], folder: Path, data: Data
) -> None:
    """Half of the run alone, the other half by two (two of them after a rollback), and a step more alone."""
    name = f"resumed {model} {mesh}"
    assert_same(two[name], folder / "two" / name, alone[model], start=HALF)
    losses = []
    for checkpoint in (folder / "two" / name, alone[model].end):
        config = config_of(model, data.path, ParallelConfig())
        engine = engine_of(config, data, load_model(checkpoint))
        assert load_checkpoint(engine, checkpoint).step == STEPS
        step = engine.step(STEPS)
        losses.append((step.loss, step.grad_norm, step.tokens))
    assert losses[0] == pytest.approx(losses[1], rel=ROUNDING)


def test_together_they_read_the_rows_of_one(two: dict[str, Any], four: dict[str, Any], data: Data) -> None:
    config = config_of("gpt3", data.path, ParallelConfig())
    for result in (two, four):
        for step, rows in enumerate(result["rows"]):
            stream = engine_of(config, data, GPT.build(config.model, 0)).stream
            read = [
                [list(row), list(weights)]
                for batch in stream.batches(step)
                for row, weights in zip(batch.tokens.tolist(), batch.weights.tolist(), strict=True)
            ]
            assert [row for row in rows if any(row[1])] == read  # but for what only fills a micro-batch up
            assert len(read) == config.batch.at(step)


def test_shards_are_pieces(two: dict[str, Any], four: dict[str, Any]) -> None:
    """Each process holds its part and little more: of the layers a tensor group cuts, and of everything a shard."""
    whole = two["gpt3 ddp"]["parameters_here"]
    assert whole == MODELS["gpt3"].parameters
    assert two["gpt3 fsdp"]["parameters_here"] == pytest.approx(whole / 2, rel=0.02)
    layers = 2 * 12 * SHAPE["width"] ** 2
    assert two["gpt3 tp"]["parameters_here"] == pytest.approx(whole - layers / 2, rel=0.02)
    assert four["gpt3 fsdp x tp"]["parameters_here"] == pytest.approx((whole - layers / 2) / 2, rel=0.02)
