"""`ensue plan`: its arithmetic beside the papers' tables, its memory beside what autograd keeps, and what it says."""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2, modern, preset
from ensue.recipes.papers import RECIPES
from ensue.recipes.plan import PF_DAY, ask, make_plan
from ensue.recipes.plan_check import certain, check_fits, system_memory
from ensue.recipes.plan_memory import Layout, Precision, memory, saved_per_token
from ensue.recipes.run_config import with_changes
from ensue.train.parallel import ParallelConfig, Place
from ensue.verbs.training import Train

Ensue = Callable[..., tuple[int, str]]

TABLE_D1 = {
    "gpt3-small": 2.60,
    "gpt3-medium": 7.42,
    "gpt3-large": 15.8,
    "gpt3-xl": 27.5,
    "gpt3-2.7b": 55.2,
    "gpt3-6.7b": 139.0,
    "gpt3-13b": 268.0,
    "gpt3-175b": 3640.0,
}
"""Petaflop/s-days of 300 billion tokens (GPT-3 2020, table D.1)."""


@pytest.mark.parametrize("name", TABLE_D1)
def test_flops_are_those_of_table_d1(name: str) -> None:
    """The table counts no embeddings in its smallest models, a few percent of them."""
    plan = make_plan(ask(name, gpus=1024, memory_gb=80))
    assert plan.rule_flops / PF_DAY == pytest.approx(TABLE_D1[name], rel=0.005 if name != "gpt3-small" else 0.01)
    assert plan.flops > plan.rule_flops * 0.7
    assert plan.steps * plan.question.batch * plan.question.model.context == pytest.approx(300e9, rel=1e-3)


def test_gpt3_on_a_thousand_gpus(ensue: Ensue) -> None:
    code, said = ensue("plan", "gpt3-175b", "--gpus", "1024", "--memory", "80", "--json")
    assert code == 0, said
    plan = json.loads(said)
    assert plan["flops"]["rule_6n"] == pytest.approx(3.14e23, rel=0.005)
    assert plan["parameters"] == 174_604_259_328
    options = {(each["name"], each["recompute"]): each for each in plan["options"]}
    copies = options["ddp", False]
    assert not copies["fits"]
    assert copies["over_bytes"] == pytest.approx(copies["bytes"] - 80e9)
    # Weights, gradients and two moments, 16 bytes a parameter, that copies hold whole and shards share.
    assert copies["bytes"] > 16 * plan["parameters"]
    assert plan["choice"]["fits"]
    assert plan["choice"]["bytes"] < 80e9
    assert plan["choice"]["bytes"] == pytest.approx(sum(plan["choice"]["bytes_by_kind"].values()))
    fastest = min(each["seconds"] for each in plan["options"] if each["fits"])
    assert plan["choice"]["seconds"] <= fastest / 0.98
    for each in plan["options"]:
        assert each["data"] * each["shard"] * each["tensor"] == 1024
        assert each["micro_batch"] * each["micro_batches"] * each["data"] * each["shard"] >= plan["batch"]["sequences"]
    code, said = ensue("plan", "gpt3-175b", "--gpus", "1024", "--memory", "80")
    assert code == 0
    assert "174,604,259,328 parameters" in said
    assert "3,638 petaflop/s-days" in said
    assert "leaves 6% of a step idle" in said


@pytest.mark.parametrize(
    ("name", "gpus", "memory_gb"),
    [("gpt3-175b", 1024, 80), ("gpt3-13b", 8, 80), ("gpt2-xl", 16, 40), ("gpt2", 1, 24), ("gpt3-13b", 12, 80)],
)
def test_the_command_is_one_that_runs(name: str, gpus: int, memory_gb: float) -> None:
    """Its fields are known, its mesh is that of the processes it starts, and its batch has a sequence for each."""
    plan = make_plan(ask(name, gpus=gpus, memory_gb=memory_gb, gpus_per_node=8 if gpus % 8 == 0 else 4))
    assert plan.choice is not None
    words = shlex.split(plan.advice[-1])
    processes = 1
    if gpus > 1:
        options = dict(pairwise(words))
        processes = int(options.get("--nnodes", 1)) * int(options["--nproc-per-node"])
        words = words[words.index("--") + 1 :]
    else:
        words = words[1:]
    assert processes == gpus
    assert words[0] == "train"
    typed = {word[2:]: words[place + 1] for place, word in enumerate(words) if word.startswith("--")}
    assert typed.pop("preset") == name
    recipe = RECIPES[typed.pop("recipe")]
    changes = {field: text for field, text in typed.items() if field not in Train.__dataclass_fields__}
    config = with_changes(recipe.train(preset(name), 10**9, 10), changes)
    layout = plan.choice.layout
    assert config.parallel.sizes(gpus) == (layout.data, layout.shard, layout.tensor)
    assert (config.micro_batch, config.parallel.recompute) == (layout.rows, layout.recompute)
    assert config.batch.end >= layout.readers


def test_what_would_fit_where_nothing_does(ensue: Ensue) -> None:
    code, said = ensue("plan", "gpt3-175b", "--gpus", "8", "--memory", "80")
    assert code == 0
    assert "Nothing fits. What would:" in said
    assert "of these GPUs: " in said
    assert "a smaller model: gpt3-13b fits here" in said
    plan = make_plan(ask("gpt3-175b", gpus=8, memory_gb=80))
    needed = int(next(line for line in plan.advice if line.startswith("GPUs with")).split()[2].replace(",", ""))
    assert make_plan(ask("gpt3-175b", gpus=8, memory_gb=needed)).choice is not None
    assert make_plan(ask("gpt3-175b", gpus=8, memory_gb=needed - 2)).choice is None
    more = int(next(line for line in plan.advice if "of these GPUs" in line).split()[0].replace(",", ""))
    assert make_plan(ask("gpt3-175b", gpus=more, memory_gb=80)).choice is not None
    assert make_plan(ask("gpt3-175b", gpus=more // 2, memory_gb=80)).choice is None
    assert "a batch of at least 8 sequences" in make_plan(ask("gpt2", gpus=8, memory_gb=80, batch=1)).advice[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["gpt3-17b"], "did you mean 'gpt3-175b'?"),
        (["gpt2", "--gpus", "0"], "--gpus must be 1 or more, not 0"),
        (["gpt2", "--memory", "-3"], "--memory must be above 0, not -3."),
        (["gpt2", "--tokens", "nan"], "--tokens must be above 0, not nan"),
        (["gpt2", "--batch", "0"], "--batch must be 1 or more, not 0"),
        (["gpt2", "--mfu", "40"], "above 0 and at most 1, not 40; try 0.4"),
        (
            ["gpt2", "--gpus", "12"],
            "12 GPUs do not make whole machines of 8: take 8, or say how many each machine has, ",
        ),
        (["gpt2", "--gpus", "12"], "--gpus-per-node 6."),
        (["gpt2", "--gpus", "13"], "--gpus-per-node 1."),
    ],
)
def test_questions_that_make_no_sense(options: list[str], said: str, ensue: Ensue) -> None:
    code, told = ensue("plan", *options)
    assert (code, said in told) == (2, True), told


SMALL = {
    "gpt2": gpt2(layers=1, width=128, heads=4, context=64, vocab=300),
    "modern": modern(layers=1, width=128, heads=4, context=64, vocab=300),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", SMALL)
def test_what_autograd_keeps_of_a_layer(name: str, precision: Precision) -> None:
    """Counted with saved-tensor hooks, each storage once: three layers less one are two."""
    from ensue.core.native import why_no_kernels

    if precision == "bf16" and why_no_kernels() is not None:
        pytest.skip(f"the plan takes the kernels to be there: {why_no_kernels()}")
    config, rows = SMALL[name], 2
    one, three = (kept_by_autograd(replace(config, layers=layers), precision, rows=rows) for layers in (1, 3))
    found = (three - one) / 2 / (rows * config.context)
    assert saved_per_token(config, precision, device="cpu") == pytest.approx(found, rel=2e-3)


def kept_by_autograd(config: GPTConfig, precision: Precision, *, rows: int) -> int:
    model = GPT.build(config, 0)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    tokens = torch.zeros(rows, config.context, dtype=torch.int64)
    casts = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), casts:
        states = model.hidden(tokens)
    count = sum(storage.nbytes() for storage in kept.values())
    del states
    return count


def test_memory_is_shared_as_the_mesh_says() -> None:
    model = preset("gpt3-13b")
    one = memory(model, Layout(), precision="bf16")
    copies = memory(model, Layout(data=8), precision="bf16")
    shards = memory(model, Layout(shard=8), precision="bf16")
    tensors = memory(model, Layout(tensor=8), precision="bf16")
    again = memory(model, Layout(shard=8, recompute=True), precision="bf16")
    assert (one.weights, one.optimizer) == (4 * model.parameters, 8 * model.parameters)
    assert (copies.weights, copies.optimizer) == (one.weights, one.optimizer)
    assert (shards.weights, shards.optimizer) == (one.weights / 8, one.optimizer / 8)
    assert one.weights / 8 < tensors.weights < one.weights / 8 * 1.2  # embeddings and norms are whole
    assert again.activations < shards.activations / 4
    assert again.weights == shards.weights


def test_a_run_that_cannot_fit_is_told_what_would() -> None:
    config = with_changes(RECIPES["gpt3"].train(preset("gpt3-175b"), 10**9, 10), {})
    place, cpu = Place(), torch.device("cpu")
    assert certain(config, config.model, place) == 16 * config.model.parameters
    eighth = certain(replace(config, parallel=ParallelConfig(shard=8)), config.model, Place(shard=8))
    assert eighth == pytest.approx(2 * config.model.parameters)
    with pytest.raises(ValueError, match=r"need 2,793\.7 GB of each process .* this machine has .* `ensue plan`"):
        check_fits(config, place, cpu)
    check_fits(replace(config, model=SMALL["gpt2"]), place, cpu)


def test_a_container_has_less_than_its_machine(tmp_path: Path) -> None:
    assert system_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:   4000 kB\n")
    assert system_memory(tmp_path) == 4000 * 1024
    groups = tmp_path / "sys" / "fs" / "cgroup"
    groups.mkdir(parents=True)
    (groups / "memory.current").write_text("1024000\n")
    (groups / "memory.stat").write_text("anon 500000\ninactive_file 1000\nactive_file 24\n")
    (groups / "memory.max").write_text("max\n")
    assert system_memory(tmp_path) == 4000 * 1024
    (groups / "memory.max").write_text("2048000\n")
    assert system_memory(tmp_path) == 1024000 + 1024  # files read before are forgotten for it
