"""A tiny model with its tokenizer, and tables of examples that it can learn."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ensue import cli
from ensue.model.gpt import GPT
from ensue.model.presets import gpt2
from ensue.model.weights import save_model
from ensue.tokens.byte_level import train_byte_level
from ensue.verbs.tuning import Finetune

cli.VERBS.setdefault("finetune", Finetune)

TEXT = "rivers carry stones to the sea under grey light while people keep small books near windows 河流 山"
WORDS = TEXT.split()
GOOD, BAD = ("fine", "bright", "kind"), ("poor", "dull", "cruel")


def sentence(draw: random.Random, *more: str) -> str:
    words = [*draw.choices(WORDS, k=draw.randint(2, 9)), *more]
    draw.shuffle(words)
    return " ".join(words)


def rows_of(task: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Rows whose answer depends on a word that is in them."""
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        right = draw.randrange(2)
        telling = draw.choice((BAD, GOOD)[right])
        if task == "classify":
            rows.append({"id": number, "text": sentence(draw, telling), "label": ("bad", "good")[right]})
        elif task == "entail":
            rows.append({"premise": sentence(draw), "hypothesis": sentence(draw, telling), "label": right})
        elif task == "similarity":
            one, two = sentence(draw, telling), sentence(draw)
            rows.append({"sentence1": one, "sentence2": two, "score": 5.0 * right - 0.3 * (2 * right - 1)})
        else:
            endings = [sentence(draw, "poor"), sentence(draw, "fine")]
            first, second = endings[1 - right], endings[right]
            rows.append({"context": sentence(draw), "ending1": first, "ending2": second, "label": right})
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def make_rows() -> Callable[[str, int, int], list[dict[str, Any]]]:
    return rows_of


@pytest.fixture(scope="session")
def write_rows() -> Callable[[Path, list[dict[str, Any]]], Path]:
    return write


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: one layer of width 32, a context of 64."""
    folder = tmp_path_factory.mktemp("base") / "model"
    draw = random.Random(0)
    tokenizer = train_byte_level(iter([sentence(draw, *GOOD, *BAD) for _ in range(200)]), vocab_size=330)
    shape = gpt2(layers=1, width=32, heads=2, context=64, vocab=tokenizer.vocab_size)
    save_model(GPT.build(shape, seed=0), folder, end_token=tokenizer.end)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A table for each task, of 240 rows."""
    folder = tmp_path_factory.mktemp("tables")
    return {
        task: write(folder / f"{task}.jsonl", rows_of(task, 240, seed))
        for seed, task in enumerate(("classify", "entail", "similarity", "choice"))
    }
