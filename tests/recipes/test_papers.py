"""Each recipe against its paper's own numbers, and at sizes no paper had; changes by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.core.config import from_dict, to_dict
from ensue.model.presets import PRESETS
from ensue.recipes.data import Data
from ensue.recipes.papers import RECIPES, rows_that_fit
from ensue.recipes.run_config import RunConfig, is_field, with_changes

GPT3_TABLE = {
    "gpt3-small": (6.0e-4, 0.5e6),
    "gpt3-medium": (3.0e-4, 0.5e6),
    "gpt3-large": (2.5e-4, 0.5e6),
    "gpt3-xl": (2.0e-4, 1e6),
    "gpt3-2.7b": (1.6e-4, 1e6),
    "gpt3-6.7b": (1.2e-4, 2e6),
    "gpt3-13b": (1.0e-4, 2e6),
    "gpt3-175b": (0.6e-4, 3.2e6),
}
"""GPT-3 (2020), table 2.1: peak learning rate and batch in tokens."""


@pytest.mark.parametrize("name", GPT3_TABLE)
def test_gpt3_at_the_sizes_of_its_table(name: str) -> None:
    lr, batch_tokens = GPT3_TABLE[name]
    model = PRESETS[name]
    steps = 300_000  # a million tokens each, so that a step stands for a million of the paper's 300 billion
    config = RECIPES["gpt3"].train(model, 10**9, steps)
    assert config.optimizer.lr == pytest.approx(lr, rel=0.01)  # the table's sizes are rounded, ours are exact
    assert config.batch.end * model.context == pytest.approx(batch_tokens, rel=0.01)
    optimizer = config.optimizer
    assert (optimizer.kind, optimizer.beta1, optimizer.beta2, optimizer.epsilon) == ("adamw", 0.9, 0.95, 1e-8)
    assert (optimizer.clip, optimizer.weight_decay) == (1.0, 0.1)
    schedule = config.schedule
    assert (schedule.shape, schedule.warmup, schedule.end, schedule.steps) == ("cosine", 375, 260_000, steps)
    assert schedule.factor(374) < schedule.factor(375) == 1.0
    assert schedule.factor(375 + (260_000 - 375) // 2) == pytest.approx(0.55, abs=1e-5)  # half way from 1 to 0.1
    assert schedule.factor(260_000) == schedule.factor(steps - 1) == 0.1
    assert config.batch.start * model.context == pytest.approx(32_000, rel=0.03)
    assert 4000 <= config.batch.steps <= 12_000
    middle = config.batch.at(config.batch.steps // 2)
    assert middle == pytest.approx((config.batch.start + config.batch.end) / 2, rel=0.01)


def test_gpt3_is_one_epoch_unless_said() -> None:
    config = RECIPES["gpt3"].train(PRESETS["gpt3-175b"], 300 * 10**9, None)
    assert config.schedule.steps == pytest.approx(300e9 / 3.2e6, rel=0.01)


def test_gpt_as_its_paper() -> None:
    model = PRESETS["gpt"]
    config = RECIPES["gpt"].train(model, 1_000_000_000, None)
    assert (config.batch.start, config.batch.end, config.batch.end * model.context) == (64, 64, 32_768)
    assert config.schedule.steps == round(100 * 1_000_000_000 / 32_768)
    optimizer = config.optimizer
    assert (optimizer.kind, optimizer.lr, optimizer.weight_decay) == ("adamw", 2.5e-4, 0.01)
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.999, 1e-8)
    schedule = config.schedule
    assert (schedule.shape, schedule.warmup, schedule.floor, schedule.end) == ("cosine", 2000, 0.0, schedule.steps)
    assert (schedule.factor(0), schedule.factor(1000)) == pytest.approx((1 / 2001, 0.5), rel=1e-3)
    assert schedule.factor(schedule.steps - 1) < 1e-8
    assert model.embedding_dropout == model.attention_dropout == model.residual_dropout == 0.1


@pytest.mark.parametrize("name", ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"])
def test_gpt2_as_far_as_its_paper_says(name: str) -> None:
    config = RECIPES["gpt2"].train(PRESETS[name], 8 * 10**9, None)
    assert config.batch.start == config.batch.end == 512
    assert PRESETS[name].context == 1024
    assert "GPT-2 prints no learning rate" in config.reasons[0]


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(RECIPES)),
    st.integers(1, 24),
    st.integers(1, 16),
    st.sampled_from([2, 8, 64, 128]),
    st.integers(1, 4096),
    st.integers(257, 100_000),
    st.one_of(st.none(), st.integers(1, 10**7)),
    st.integers(1, 10**12),
)
def test_every_recipe_at_any_size(
    recipe: str, layers: int, heads: int, head_width: int, context: int, vocab: int, steps: int | None, epoch: int
) -> None:
    model = RECIPES[recipe].architecture(
        layers=layers, width=heads * head_width, heads=heads, context=context, vocab=vocab
    )
    config = RECIPES[recipe].train(model, epoch, steps)
    schedule, batch = config.schedule, config.batch
    assert config.model == model
    assert steps is None or schedule.steps == steps
    assert 0 <= schedule.warmup <= schedule.end <= schedule.steps
    assert 0 <= batch.steps <= schedule.steps
    assert 1 <= batch.start <= batch.end
    assert 1 <= config.micro_batch <= batch.end
    places = {0, schedule.warmup, schedule.steps // 2, schedule.steps - 1}
    assert all(0 <= schedule.factor(place) <= 1 for place in places if place < schedule.steps)
    assert max(schedule.factor(min(place, schedule.steps - 1)) for place in places) > 0
    assert 0 < config.optimizer.lr <= 3e-3
    assert from_dict(RunConfig, to_dict(config)) == config == with_changes(config, {})


def test_memory_is_bounded_by_the_rows_that_fit() -> None:
    sizes = [rows_that_fit(PRESETS[name]) for name in ("gpt2-micro", "gpt2-mini", "gpt2", "gpt2-xl", "gpt3-175b")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= 64
    assert sizes[-1] == 1


BASE = RECIPES["modern"].train(replace(PRESETS["modern-micro"], vocab=300), 10_000, 100)


def test_changes_reach_the_field_they_name() -> None:
    said = {
        "layers": "2",
        "model.width": "256",
        "lr": "1e-4",
        "batch-end": "9",
        "clip": "none",
        "sample_prompts": '["a"]',
    }
    with pytest.raises(ValueError, match=r"no option --batch_end; did you mean 'batch\.end'"):
        with_changes(BASE, said)
    del said["batch-end"]
    changed = with_changes(BASE, {**said, "batch.end": "9", "precision": "bf16"})
    assert (changed.model.layers, changed.model.width, changed.model.heads) == (2, 256, BASE.model.heads)
    assert (changed.optimizer.lr, changed.optimizer.clip) == (1e-4, None)
    assert (changed.batch.end, changed.precision, changed.sample_prompts) == (9, "bf16", ("a",))
    same = {"schedule": BASE.schedule, "seed": 0, "data": ""}
    assert {name: getattr(changed, name) for name in same} == same


def test_the_gated_mlp_follows_the_width() -> None:
    """As the architecture derives it: a run's config holds the number, and changing the width must not keep it."""
    for width in (64, 256, 1024):
        wanted = RECIPES["modern"].architecture(layers=4, width=width, heads=2, context=256, vocab=300).mlp_width
        assert with_changes(BASE, {"width": str(width)}).model.mlp_width == wanted
    assert with_changes(BASE, {"width": "256", "mlp_width": "96"}).model.mlp_width == 96
    assert with_changes(BASE, {"layers": "1"}).model.mlp_width == BASE.model.mlp_width


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("layer", "3", r"no option --layer; did you mean 'layers'"),
        ("model.layer", "3", r"no option --model\.layer; did you mean 'model\.layers'"),
        ("steps", "3", r"--steps could be any of .*--schedule\.steps.*; say which"),
        ("layers", "two", r"model\.layers: expected int, got 'two'"),
        ("layers", "2.5", r"model\.layers: expected int, got 2\.5"),
        ("layers", "true", r"model\.layers: expected int"),
        ("kind", "sgd", r"optimizer\.kind: 'sgd' is not one of 'adamw', 'muon'"),
        ("heads", "3", r"width 128 cannot be shared by 3 heads"),
        ("warmup", "101", r"warm-up of 101 steps does not fit a schedule of 100"),
        ("batch.start", "0", r"batch ramp"),
        ("patterns", '[{"kind": "Bandit", "window": 4}]', r"unknown kind 'Bandit'; did you mean 'Banded'"),
    ],
)
def test_changes_that_cannot_be(name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_changes(BASE, {name: text})


def test_names_of_fields() -> None:
    assert all(is_field(name) for name in ("lr", "model.layers", "save-every", "separate_documents"))
    assert not any(is_field(name) for name in ("rnu", "tokenizer", "model.layer"))


def test_ten_epochs_stay_ten_with_another_batch(
    data: Data, tmp_path: Path, ensue: Callable[..., tuple[int, str]]
) -> None:
    shape = ["--layers", 1, "--width", 16, "--heads", 2, "--context", 128, "--batch.end", 32, "--sample_every", 0]
    code, said = ensue("train", data.path, "--run", tmp_path / "run", "--recipe", "gpt2", "--preset", "gpt2", *shape)
    assert code == 0, said
    assert "10 epochs" in said
    *_, last = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert last["step"] == round(10 * len(data.train.tokens) / (32 * 128))
