"""The one dial: a choice with reasons, and a run that ends when it was asked to."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensue.core.config import from_dict, to_dict
from ensue.generate.load import load
from ensue.recipes.data import Data
from ensue.recipes.dial import LADDER, choose_by_minutes, expected_loss, tokens_per_second
from ensue.recipes.papers import RECIPES
from ensue.recipes.run_config import RunConfig

Ensue = Callable[..., tuple[int, str]]
counts = st.floats(1e3, 1e12)


@settings(max_examples=200)
@given(counts, counts, counts, st.floats(1.01, 100))
def test_more_is_expected_to_be_better(parameters: float, tokens: float, epoch: float, more: float) -> None:
    here = expected_loss(parameters, tokens, epoch)
    assert expected_loss(parameters * more, tokens, epoch) < here
    assert expected_loss(parameters, tokens * more, epoch) <= here * (1 + 1e-12)  # equal but for rounding
    assert expected_loss(parameters, tokens, epoch * more) <= here * (1 + 1e-12)
    if tokens * more <= epoch:
        assert expected_loss(parameters, tokens * more, epoch) < here


def test_repeated_text_is_worth_less_and_less() -> None:
    fresh = [expected_loss(1e6, epochs * 1e6, 1e12) for epochs in (1, 4, 16, 64)]
    repeated = [expected_loss(1e6, epochs * 1e6, 1e6) for epochs in (1, 4, 16, 64)]
    assert repeated[0] == fresh[0]
    gaps = [second - first for first, second in zip(fresh, repeated, strict=True)]
    assert gaps == sorted(gaps)
    assert gaps[1] < 0.1 * (fresh[0] - fresh[1])  # up to four epochs it is nearly as good as new (Muennighoff et al.)


@pytest.mark.parametrize("recipe", ["modern", "gpt3"])
def test_a_choice_for_three_seconds(recipe: str, data: Data) -> None:
    deadline = time.monotonic() + 3
    chosen = choose_by_minutes(data, recipe, minutes=0.05, deadline=deadline, seed=4, changes={"save_every": "7"})
    assert chosen.recipe == recipe
    assert (chosen.seed, chosen.minutes, chosen.save_every) == (4, 0.05, 7)
    assert (chosen.model.layers, chosen.model.width) in LADDER
    assert chosen.model.vocab == data.tokenizer.vocab_size
    assert chosen.model.context <= len(data.train.tokens)
    assert chosen.schedule.steps >= 10
    assert chosen.micro_batch <= chosen.batch.end
    assert (chosen.batch.start < chosen.batch.end) == (recipe == "gpt3")
    assert "tokens/s" in chosen.reasons[0]
    assert all(chosen.reasons)
    assert from_dict(RunConfig, json.loads(json.dumps(to_dict(chosen)))) == chosen


def test_what_the_user_says_is_not_chosen(data: Data) -> None:
    said = {"layers": "1", "width": "32", "heads": "2", "lr": "1e-4", "context": "32", "batch.start": "3"}
    said |= {"batch.end": "5", "batch.steps": "4"}
    chosen = choose_by_minutes(data, "modern", minutes=0.05, deadline=time.monotonic() + 3, seed=0, changes=said)
    assert (chosen.model.layers, chosen.model.width, chosen.model.heads, chosen.model.context) == (1, 32, 2, 32)
    wanted = RECIPES["modern"].architecture(layers=1, width=32, heads=2, context=32, vocab=300)
    assert chosen.model.mlp_width == wanted.mlp_width
    assert chosen.optimizer.lr == 1e-4
    assert (chosen.batch.start, chosen.batch.end, chosen.batch.steps) == (3, 5, 4)


def test_a_larger_model_is_slower() -> None:
    sizes = [
        RECIPES["gpt2"].architecture(layers=layers, width=width, heads=4, context=64, vocab=300)
        for layers, width in ((1, 16), (4, 128))
    ]
    small, large = (tokens_per_second(RECIPES["gpt2"].train(model, 10_000, 1)) for model in sizes)
    assert small > large > 0


@pytest.mark.parametrize(
    "options",
    [
        ["--recipe", "auto", "--layers", "1", "--width", "32", "--heads", "2"],  # many steps, however busy the machine
        ["--preset", "gpt2-micro", "--recipe", "gpt2"],
    ],
    ids=["auto", "preset"],
)
def test_a_run_ends_when_it_was_asked_to(options: list[str], data: Data, tmp_path: Path, ensue: Ensue) -> None:
    """Also where the recipe's own plan, 10 epochs of this little text, would be over at once."""
    run, minutes = tmp_path / "run", 0.1
    began = time.monotonic()
    code, said = ensue("train", data.path, "--run", run, "--minutes", minutes, "--batch.end", 4, *options)
    wall = time.monotonic() - began
    assert code == 0, said
    assert 0.5 * 60 * minutes < wall < 60
    assert "timed here" in said
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if "loss" in row]
    assert sum(row["seconds"] for row in trained) < 1.5 * 60 * minutes + 3
    schedule = json.loads((run / "final" / "training.json").read_text())["schedule"]
    assert [row["step"] for row in trained] == list(range(1, schedule["steps"] + 1))
    assert int((run / "final").resolve().name) == schedule["steps"]
    assert trained[-1]["lr"] < 0.1 * max(row["lr"] for row in trained)  # it came down before it stopped
    assert "val_tokens" in rows[-1]
    assert load(run).generate("the", max_new_tokens=2)


def test_minutes_and_steps_exclude_one_another(data: Data, tmp_path: Path, ensue: Ensue) -> None:
    for options in (["--minutes", "1", "--steps", "9"], ["--minutes", "0"], ["--minutes", "-1"], ["--steps", "0"]):
        code, said = ensue("train", data.path, "--run", tmp_path / "run", *options)
        assert (code, options[0] in said or options[2] in said) == (2, True), said
    assert not list(tmp_path.iterdir())


def test_fields_of_the_schedule_can_be_set_with_minutes(data: Data) -> None:
    chosen = choose_by_minutes(
        data, "modern", minutes=0.05, deadline=time.monotonic() + 3, seed=0, changes={"layers": "1", "warmup": "3"}
    )
    assert chosen.schedule == replace(chosen.schedule, warmup=3)
