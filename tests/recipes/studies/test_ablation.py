"""A whole study of models with a handful of weights: killed and given again, it comes to what it would have come to."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ensue.recipes.display import Display
from ensue.recipes.studies.ablation import run_ablation
from ensue.recipes.studies.conditions import conditions
from ensue.recipes.studies.pretraining import steps_in
from ensue.recipes.studies.settings import AblationSettings
from ensue.verbs.studies import ShowStudy

LAYERS = 2
TEXT = "river stone grey light small books near windows people carry keep under sea line plain"

START = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from ensue.recipes.display import Display
from ensue.recipes.studies.ablation import run_ablation
from ensue.recipes.studies.settings import AblationSettings
import json
given = json.loads(sys.argv[1])
settings = AblationSettings(**{**given["settings"], "texts": tuple(given["settings"]["texts"]), "rates": (1e-3, 1e-2)})
run_ablation(settings, Path(given["files"]), Path(given["out"]), sets=given["sets"], seeds=1, display=Display())
"""
"""The study in a process of its own, which can be killed."""


def sentence(draw: random.Random, mood: str) -> str:
    words = TEXT.split()
    return " ".join([*draw.choices(words, k=draw.randint(4, 9)), mood, *draw.choices(words, k=2)])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set in which one word says the answer."""
    folder, draw = tmp_path_factory.mktemp("sets"), random.Random(1)
    for name, count in (("rte_train", 341), ("rte_test", 40)):
        lines = []
        for number in range(count):
            label = draw.randrange(2)
            premise, hypothesis = sentence(draw, ("calm", "loud")[label]), sentence(draw, "calm")
            lines.append(json.dumps({"id": number, "premise": premise, "hypothesis": hypothesis, "label": label}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The folder's name is in the documents' ids, and must be the same whatever ran before.
    folder, draw = tmp_path_factory.mktemp("written") / "text", random.Random(2)
    folder.mkdir()
    for number in range(20):
        moods = draw.choices(["calm", "loud"], k=30)
        (folder / f"{number:02}.txt").write_text("\n".join(sentence(draw, mood) for mood in moods), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def settings(text: Path) -> AblationSettings:
    shape = {"layers": LAYERS, "width": 16, "heads": 2, "context": 64, "vocab": 300}
    return AblationSettings(
        texts=(str(text),), **shape, steps=8, batch=4, rates=(1e-3, 1e-2), epochs=1, train_limit=64, test_limit=30
    )


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


@pytest.fixture(scope="module")
def finished(files: Path, settings: AblationSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "whole"
    run_ablation(settings, files, out, sets=["rte"], seeds=2, display=Display(quiet=True))
    return out


def test_everything_is_told(finished: Path) -> None:
    found = results(finished)
    assert set(found["sets"]) == {"rte"}
    assert found["pretrained"]["gpt"]["val_bits_per_byte"] > 0
    assert "val_bits_per_byte" not in found["pretrained"]["bert"]
    assert found["pretrained"]["bert"]["val_hidden"] > 0
    assert found["pretrained"]["bert"]["parameters"] == found["pretrained"]["gpt"]["parameters"] + 16  # the mask's row
    for each in found["sets"].values():
        assert list(each["conditions"]) == [condition.name for condition in conditions(LAYERS)]
        assert all(cell["seeds"] == [0, 1] for cell in each["conditions"].values())
        assert len(each["comparisons"]) == 5 + LAYERS
        assert each["rate"] in (1e-3, 1e-2)
    table = (finished / "results.md").read_text()
    assert "without pre-training" in table
    assert "BERT" in table
    assert {path.name for path in finished.glob("*.png")} == {"layers.png", "differences.png"}
    assert not (finished / "work").exists()


def test_the_numbers_are_those_of_the_trials(finished: Path) -> None:
    each = results(finished)["sets"]["rte"]
    items: dict[tuple[str, int], list[int]] = {}
    for path in (finished / "trials" / "rte").rglob("*.json"):
        trial = json.loads(path.read_text())
        if trial["rate"] == each["rate"]:
            items[trial["condition"], trial["seed"]] = list(map(int, trial["correct"]))
    for name, cell in each["conditions"].items():
        right = [np.mean(items[name, seed]) for seed in (0, 1)]
        assert cell["accuracy"] == pytest.approx(right)
        assert cell["mean"] == pytest.approx(np.mean(right))
    first = each["comparisons"][0]
    by_seed = [np.mean(items["full", seed]) - np.mean(items["no-pretraining", seed]) for seed in (0, 1)]
    assert first["by seed"] == pytest.approx(by_seed)
    assert first["low"] <= first["mean"] <= first["high"]


def killed(out: Path, given: dict[str, Any], until: Sequence[Path]) -> None:
    """Start the study, and kill it with SIGKILL as soon as one of these paths is there."""
    arguments = [sys.executable, "-c", START, json.dumps(given)]
    with subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        while not any(path.exists() for path in until):
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)


def test_a_killed_study_goes_on(finished: Path, files: Path, settings: AblationSettings, tmp_path: Path) -> None:
    """Within the first pre-training, and within a trial: what was finished is not made again, the rest comes out as it
    would have."""
    torch.set_num_threads(1)
    out = tmp_path / "killed"
    fields = {name: getattr(settings, name) for name in AblationSettings.__dataclass_fields__}
    given = {"settings": fields, "files": str(files), "out": str(out), "sets": ["rte"]}
    killed(out, given, [out / "pretrained" / "gpt" / "receipts.jsonl"])
    assert not (out / "trials").exists()
    killed(out, given, [out / "trials" / "rte" / "full" / "seed-0-rate-0.01.json"])
    done = {path: path.stat().st_mtime_ns for path in out.rglob("trials/**/*.json")}
    assert done
    run_ablation(settings, files, out, sets=["rte"], seeds=1, display=Display(quiet=True))
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    one, other = results(out), results(finished)
    assert one["pretrained"] == other["pretrained"]
    for name, cell in one["sets"]["rte"]["conditions"].items():
        assert cell["accuracy"][0] == other["sets"]["rte"]["conditions"][name]["accuracy"][0]


def test_more_seeds_and_conditions_are_added(finished: Path, files: Path, settings: AblationSettings) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("trials/**/*.json")}
    run_ablation(settings, files, finished, sets=["rte"], seeds=3, only=["full", "bert"], display=Display(quiet=True))
    new = [path for path in finished.rglob("trials/**/*.json") if path not in before]
    assert sorted(path.parent.name for path in new) == ["bert", "full"]
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_what_is_refused(finished: Path, files: Path, settings: AblationSettings) -> None:
    quiet = Display(quiet=True)
    with pytest.raises(ValueError, match="begun with steps 8"):
        run_ablation(replace(settings, steps=9), files, finished, sets=["rte"], seeds=1, display=quiet)
    with pytest.raises(ValueError, match="no-auxiliary"):
        run_ablation(settings, files, finished, sets=["rte"], seeds=1, only=["no-auxilliary"], display=quiet)
    with pytest.raises(ValueError, match="--seeds 0"):
        run_ablation(settings, files, finished, sets=["rte"], seeds=0, display=quiet)
    with pytest.raises(ValueError, match="rate"):
        replace(settings, rates=())


def test_minutes_are_made_into_steps_once(settings: AblationSettings, finished: Path, tmp_path: Path) -> None:
    quiet = Display(quiet=True)
    assert steps_in(None, settings, tmp_path, display=quiet) == settings
    short, long = (steps_in(minutes, settings, tmp_path, display=quiet).steps for minutes in (0.02, 2.0))
    assert 10 <= short < long
    assert steps_in(2.0, replace(settings, steps=99), finished, display=quiet).steps == settings.steps
    with pytest.raises(ValueError, match="no time"):
        steps_in(0, settings, tmp_path, display=quiet)


def test_a_study_is_shown(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ShowStudy(finished).start()
    assert capsys.readouterr().out == (finished / "results.md").read_text()
    with pytest.raises(ValueError, match="no results yet"):
        ShowStudy(tmp_path).start()
