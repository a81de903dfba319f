"""A small model with opinions, saved in a folder, and the rows of a small task."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ensue.evaluate.local import LocalScorer
from ensue.generate.lm import LM
from ensue.generate.load import load
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.model.weights import save_model
from ensue.tokens.byte_level import train_byte_level

SENTENCES = [
    "Once upon a time there was a fox who lived in the wood, and the wood was dark and deep.",
    "The fox said to the crow: what a fine voice you have! The crow opened its mouth to sing.",
    "从前有一只狐狸住在森林里，狐狸很聪明。天地玄黃，宇宙洪荒。",
    "Ωμέγα και άλφα: naïve café, señor 🦊🌲! Les yeux bleus, où est-il?\n\nThe end of the tale.",
]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def build_model(folder: Path, seed: int) -> Path:
    """A GPT-2 of a few thousand weights, large enough to differ from one token to the next."""
    tokenizer = train_byte_level(iter(SENTENCES * 3), vocab_size=320)
    model = GPT.build(gpt2(layers=2, width=24, heads=3, context=96, vocab=320), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    folder.mkdir(parents=True)
    save_model(model.eval(), folder, end_token=tokenizer.end)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("models") / "small", seed=0)


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one with the same tokenizer."""
    return build_model(tmp_path_factory.mktemp("models") / "other", seed=1)


@pytest.fixture(scope="session")
def small_lm(small_model: Path) -> LM:
    torch.set_num_threads(1)
    return load(small_model, device="cpu")


@pytest.fixture(scope="session")
def small_scorer(small_lm: LM) -> LocalScorer:
    return LocalScorer(small_lm)


@pytest.fixture(scope="session")
def fox_rows() -> list[dict[str, Any]]:
    """Rows of a task with two choices: `start`, `ends`, `right`."""
    who, what = ("fox", "crow", "狐狸", "señor"), ("sing", "sleep", "run deep", "see the dark wood", "go")
    return [
        {
            "start": f"The {who[i % 4]} said {i}: I",
            "ends": [f" {what[i % 5]}.", f" {what[(i + 2) % 5]}!"],
            "right": i % 2,
        }
        for i in range(23)
    ]


@pytest.fixture
def fox_data(tmp_path: Path, fox_rows: list[dict[str, Any]]) -> Path:
    """A data folder with `fox_test` and `fox_train`."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    write_jsonl(folder / "fox_test.jsonl", fox_rows)
    write_jsonl(folder / "fox_train.jsonl", [{**row, "start": row["start"].upper()} for row in fox_rows[:9]])
    return folder
