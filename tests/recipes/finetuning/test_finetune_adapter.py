"""`ensue finetune --lora`, and runs of answers: what a checkpoint holds, and that a killed run goes on exactly."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import ensue as package
from ensue.recipes.finetuning.adapting import digest_of
from ensue.tokens.task_shapes import NEW_TOKENS

Call = Callable[..., tuple[int, str]]
COMMON = "--batch 8 --epochs 2 --lr 0.01 --precision fp32 --micro-tokens 200 --save-every 3 --held-out 8"
KINDS = {
    "answers": "--task instruct",
    "answers beside": "--task instruct --lora 2",
    "choices beside": "--task choice --lora 4 --lora-alpha 8 --lora-targets qkv down",
}
"""Each is 8 steps long, in several micro-batches, with dropout."""


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory, write_rows: Callable[..., Path], make_rows: Callable[..., Any]
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapter")
    answers = [
        {"prompt": row["text"], "answer": "good and kind" if row["label"] == "good" else "poor"}
        for row in make_rows("classify", 40, 1)
    ]
    choices = write_rows(folder / "choices.jsonl", make_rows("choice", 40, 2))
    return {"instruct": write_rows(folder / "answers.jsonl", answers), "choice": choices}


def command(kind: str, model: Path, data: dict[str, Path], run: Path) -> list[str]:
    options = KINDS[kind].split()
    return ["finetune", str(model), str(data[options[1]]), "--run", str(run), *options, *COMMON.split()]


def rows(run: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in read]


@pytest.fixture(scope="module")
def whole(model: Path, data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, forker: Any) -> dict[str, Path]:
    """A run of each kind that was left alone."""
    folder = tmp_path_factory.mktemp("whole")
    for kind in KINDS:
        code, said = forker.run(*command(kind, model, data, folder / kind))
        assert code == 0, said
    return {kind: folder / kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on_exactly(
    kind: str, whole: dict[str, Path], model: Path, data: dict[str, Path], tmp_path: Path, forker: Any
) -> None:
    run = tmp_path / "run"
    code, said = forker.run(*command(kind, model, data, run), signals={5: "SIGKILL"})
    assert code == -9, said
    code, said = forker.run("finetune", "--resume", run, signals={4: "SIGKILL"})
    assert code == -9, said
    code, said = forker.run("finetune", "--resume", run)
    assert code == 0, said
    names = {path.name for path in (run / "final").iterdir() if path.suffix == ".safetensors"}
    assert ("adapter.safetensors" in names) == ("beside" in kind)
    for link in ("final", "best"):
        assert (run / link).resolve().name == (whole[kind] / link).resolve().name
        for name in names:
            here, there = load_file(run / link / name), load_file(whole[kind] / link / name)
            assert here.keys() == there.keys()
            assert all(torch.equal(tensor, there[key]) for key, tensor in here.items()), name
    assert rows(run) == rows(whole[kind])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "beside" in kind])
def test_a_checkpoint_is_the_merged_model(kind: str, whole: dict[str, Path], model: Path) -> None:
    lm, base = package.load(whole[kind]), package.load(model)
    record = json.loads((whole[kind] / "final" / "adapter.json").read_text())
    assert record["base"] == str(model)
    assert record["base_sha256"] == digest_of(base.model)
    adapter = load_file(whole[kind] / "final" / "adapter.safetensors")
    scale = record["lora"]["alpha"] / record["lora"]["rank"]
    before = dict(base.model.named_parameters())
    prefix = "gpt." if kind.startswith("choices") else ""
    changed = set()
    for name, parameter in lm.model.named_parameters():
        place = prefix + name.removesuffix("weight")
        if f"{place}wide" in adapter:
            changed.add(name)
            expected = before[name] + scale * adapter[f"{place}wide"] @ adapter[f"{place}narrow"]
            assert torch.allclose(parameter, expected, atol=1e-6)
            assert not torch.equal(parameter, before[name])
        elif name == "token_embedding.weight" and prefix:
            assert torch.equal(parameter[:-NEW_TOKENS], before[name])
            assert torch.equal(
                parameter[-NEW_TOKENS:], adapter[f"{prefix}token_embedding.parametrizations.weight.0.rows"]
            )
        else:
            assert torch.equal(parameter, before[name])
    matrices = ("attention.qkv", "mlp.down") if prefix else ("attention.qkv", "attention.out", "mlp.up", "mlp.down")
    assert changed == {f"blocks.0.{matrix}.weight" for matrix in matrices}
    state = load_file(whole[kind] / "final" / "optimizer.safetensors")
    assert {name.rpartition("/")[0] for name in state} == adapter.keys()
    if prefix:
        assert {"head.weight", "head.bias"} <= adapter.keys()
        assert lm.classify("rivers", ["fine", "poor"]).label in (0, 1)
    else:
        assert isinstance(lm.chat("rivers", max_new_tokens=5), str)


def test_the_model_that_it_began_with_is_gone_or_changed(
    model: Path, data: dict[str, Path], tmp_path: Path, ensue: Call
) -> None:
    from ensue.model.weights import load_model, save_model

    base, run = tmp_path / "base", tmp_path / "run"
    shutil.copytree(model, base)
    code, said = ensue(*command("answers beside", base, data, run), "--epochs", "1")
    assert code == 0, said
    other = load_model(base)
    with torch.no_grad():
        other.blocks[0].attention_norm.bias[0] += 1  # type: ignore[union-attr, operator, index]
    save_model(other, base)
    code, said = ensue("finetune", "--resume", run)
    assert code == 2
    assert f"the model in {base} is not the one that this run's adapter stands beside: its weights have changed" in said
    shutil.rmtree(base)
    code, said = ensue("finetune", "--resume", run)
    assert code == 2
    assert f"the model that this run's adapter stands beside is gone from {base}" in said
    assert "is whole without it" in said
    assert isinstance(package.load(run).chat("rivers", max_new_tokens=3), str)


def test_what_an_adapter_cannot_be(model: Path, data: dict[str, Path], tmp_path: Path, ensue: Call) -> None:
    run = tmp_path / "run"
    code, said = ensue("finetune", model, data["instruct"], "--task", "instruct", "--run", run, "--lora", "0")
    assert code == 2
    assert "should be a rank of 1 or more" in said
    assert not run.exists()
