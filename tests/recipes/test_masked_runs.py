"""BERT's objective through the ordinary run: exact when killed, verified, told as what it is, or refused."""

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from ensue.cli import main
from ensue.core.config import from_dict
from ensue.core.seeds import seed_for
from ensue.generate.load import load
from ensue.model.patterns import TwoWay
from ensue.recipes.data import Data
from ensue.recipes.run_config import RunConfig
from ensue.tokens.batch import Batch
from ensue.tokens.masking import Masking

Ensue = Callable[..., tuple[int, str]]
OPTIONS = "--batch.start 4 --batch.end 4 --steps 12 --save_every 4 --evaluate_every 6 --keep_checkpoints 0 --lr 1e-2"


def bert(data: Data, run: Path, tiny: list[str]) -> list[str]:
    return ["train", str(data.path), "--run", str(run), "--recipe", "bert", *tiny, *OPTIONS.split()]


@pytest.fixture(scope="module")
def finished(data: Data, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("masked") / "run"
    assert main(bert(data, run, tiny)) == 0
    return run


def rows(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name not in {"seconds", "elapsed", "goodput"}} for row in found]


def test_a_killed_run_goes_on_bit_for_bit(
    finished: Path, data: Data, tiny: list[str], forker: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, _ = forker.run(*bert(data, run, tiny), signals={7: "SIGKILL"})
    assert code == -signal.SIGKILL
    assert not (run / "final").exists()
    assert forker.run("train", "--resume", run)[0] == 0
    assert rows(run) == rows(finished)
    for name in ("model", "optimizer"):
        one, other = (load_file(path / "final" / f"{name}.safetensors") for path in (run, finished))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_it_is_verified(finished: Path, ensue: Ensue) -> None:
    for steps in ("4:12", "0:3"):
        code, said = ensue("verify", finished, "--steps", steps)
        assert code == 0, said
        assert "bit-identical" in said


def test_what_it_is_and_how_it_is_told(
    finished: Path, data: Data, ensue: Ensue, tiny: list[str], tmp_path: Path
) -> None:
    config = from_dict(RunConfig, json.loads((finished / "config.json").read_text())["config"])
    assert config.masking == Masking(0.15, data.tokenizer.vocab_size)
    assert config.model.patterns == (TwoWay(),)
    assert config.model.vocab == data.tokenizer.vocab_size + 1
    readings = [row for row in rows(finished) if "val_loss" in row]
    assert len(readings) == 3
    assert all("val_bits_per_byte" not in row and row["val_hidden"] > 0 for row in readings)
    code, said = ensue(*bert(data, tmp_path / "again", tiny), "--sample_every", "3")
    assert code == 0
    assert "nats a hidden token" in said
    assert "bits per byte" not in said
    assert "ensue generate" not in said
    assert not list((tmp_path / "again" / "samples").iterdir())


def test_the_held_out_loss_by_hand(finished: Path, data: Data) -> None:
    """The same hidden tokens each time, one window after the other, through all the logits."""
    model, context = load(finished).model, 16
    tokens = data.held_out.tokens.astype(np.int64)
    windows = -(-len(tokens) // context)
    ids = torch.from_numpy(np.pad(tokens, (0, windows * context - len(tokens)))).view(windows, context)
    inside = (torch.arange(windows * context) < len(tokens)).view(windows, context).float()
    masking = Masking(0.15, data.tokenizer.vocab_size)
    seeds = [seed_for(0, "hidden of held out", window) for window in range(windows)]
    batch = masking.hide(Batch(ids, ids, inside), seeds)
    with torch.no_grad():
        nats = F.cross_entropy(model(batch.tokens).flatten(0, 1).double(), batch.targets.flatten(), reduction="none")
    last = [row for row in rows(finished) if "val_tokens" in row][-1]
    hidden = batch.weights.flatten().bool()
    assert last["val_hidden"] == last["val_tokens"] == int(hidden.sum())
    # Training reads in bf16 where it trains so.
    assert last["val_loss"] == pytest.approx(float(nats[hidden].mean()), rel=2e-3)
    assert last["val_loss"] < math.log(model.config.vocab)  # it learnt something


def test_the_model_neither_writes_nor_scores(finished: Path, ensue: Ensue) -> None:
    lm = load(finished)
    with pytest.raises(ValueError, match="two-way"):
        lm.loglikelihood("the", " river")
    code, said = ensue("generate", finished, "--prompt", "the")
    assert code != 0
    assert "two-way" in said


TWO_WAY = ["--patterns", '[{"kind": "TwoWay"}]']


@pytest.mark.parametrize(
    ("recipe", "options", "says"),
    [
        ("gpt", ["--masked", "0.15"], "--recipe bert"),
        ("gpt", TWO_WAY, "--masked 0.15"),
        ("bert", ["--masked", "0"], "--masked 0.15"),
        ("bert", ["--masked", "1.5"], "0 to below 1"),
        ("bert", ["--patterns", '[{"kind": "Dense"}]'], "both sides"),
        ("modern", [*TWO_WAY, "--masked", "0.15", "--warm_start", "3"], "--warm_start 0"),
    ],
)
def test_what_cannot_be_is_refused(
    recipe: str, options: list[str], says: str, data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue
) -> None:
    run = tmp_path / "run"
    code, said = ensue("train", data.path, "--run", run, "--recipe", recipe, "--steps", "3", *tiny, *options)
    assert code != 0
    assert says in said
    assert not os.path.lexists(run)


def test_any_recipe_with_the_two_fields_is_the_same_objective(
    data: Data, tiny: list[str], tmp_path: Path, ensue: Ensue
) -> None:
    run = tmp_path / "run"
    options = ["--batch.start", "2", "--batch.end", "2", "--steps", "2", *TWO_WAY, "--masked", "0.3"]
    code, said = ensue("train", data.path, "--run", run, "--recipe", "modern", *tiny, *options)
    assert code == 0, said
    config = from_dict(RunConfig, json.loads((run / "config.json").read_text())["config"])
    assert config.masking == Masking(0.3, data.tokenizer.vocab_size)
