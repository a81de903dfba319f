import argparse
import json
from pathlib import Path

import pytest

from ensue.cli import main
from ensue.model.presets import gpt2
from ensue.recipes.bench_train import PARTS, bench_train, show_speed
from ensue.recipes.display import Display


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_is_accounted_for_whole(precision, capsys):
    config = gpt2(layers=2, width=64, heads=2, context=128, vocab=512)
    speed = bench_train(
        config,
        rows=4,
        steps=3,
        device_name="cpu",
        precision_name=precision,
        optimizer="adamw",
        compile_mode="off",
        display=Display(to_stderr=True),
    )
    assert tuple(part.name for part in speed.parts) == PARTS
    assert sum(part.seconds for part in speed.parts) == pytest.approx(speed.seconds)
    assert speed.reached + sum(part.lost for part in speed.parts) == pytest.approx(1.0)
    assert sum(part.flops for part in speed.parts) == 4 * 128 * config.flops_per_token(128)
    for part in speed.parts[:4]:
        assert part.seconds > 0, f"nothing was counted as {part.name}"
    assert speed.tokens_per_second == pytest.approx(4 * 128 / speed.seconds)
    show_speed(speed, Display())
    assert "tokens/s" in capsys.readouterr().out


def test_the_verb_prints_json(capsys):
    assert main(["bench", "train", "gpt2-micro", "--rows", "1", "--steps", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tokens"] == 256
    assert [part["name"] for part in told["parts"]] == list(PARTS)


def test_tokenizing_counts_what_it_cut(tmp_path, capsys):
    text = Path(argparse.__file__).read_text(encoding="utf-8")
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    assert main(["bench", "tokenize", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == len(text.encode())
    assert told["documents"] == 1
    assert 0 < told["tokens"] < told["bytes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "gpt2-tiny"], "gpt2-mini"),
        (["train", "gpt2-micro", "--rows", "0"], "--rows must be 1 or more"),
        (["tokenize", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_mistakes_are_told(arguments, said, capsys):
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err
