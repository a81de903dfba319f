"""A small world for the studio to show: a run, a tuned one, an evaluation and a corpus, all made by Ensue itself."""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ensue.cli import main
from ensue.recipes.data import prepare_files
from ensue.recipes.display import Display
from ensue.text.curation.curate import curate
from ensue.text.curation.passes import Done, Task
from ensue.text.curation.step import Judge, Verdict, drop, keep
from ensue.text.document import Document
from ensue.verbs.evaluating import Evaluate
from ensue.verbs.tuning import Finetune

TEXT = (
    "the fox ran to the old wood and sang a song of rain while a crow slept in the dark "  # and what HTML would eat
    "<b>bold</b> & 狐狸 森林 河流 naïve"
)
WORDS = TEXT.split(" ")
STEPS = 12
OWN_TASKS = """
from ensue.evaluate.metrics import accuracy
from ensue.evaluate.task import Choices, Files, Option, Task

OWN = Task(
    name="own",
    about="my own endings",
    files=Files("own_test", "own_train", columns=("start", "ends", "right"), origin="my own hands"),
    item=lambda row: Choices(tuple(Option(row["start"], " " + end) for end in row["ends"]), int(row["right"])),
    metrics=(accuracy("token"),),
)
TASKS = (OWN,)
"""


@dataclass(frozen=True)
class Short:
    """Drops texts of fewer characters."""

    least: int = 8

    def prepare(self) -> Judge:
        def judge(document: Document) -> Verdict:
            size = len(document.text)
            return keep(document, characters=size) if size >= self.least else drop("too short", characters=size)

        return judge


class Here:
    """Curation in this process."""

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        for task in tasks:
            yield task.run()


@dataclass(frozen=True)
class World:
    """Where everything is."""

    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def run(self) -> Path:
        return self.runs / "fox"

    @property
    def tuned(self) -> Path:
        return self.runs / "tuned"

    @property
    def data(self) -> Path:
        return self.folder / "prepared"

    @property
    def corpus(self) -> Path:
        return self.folder / "corpus"

    @property
    def evaluations(self) -> Path:
        return self.folder / "evaluations"


def sentences(seed: int, count: int) -> str:
    draw = random.Random(seed)
    return "\n".join(" ".join(draw.choices(WORDS, k=draw.randint(5, 12))) + "." for _ in range(count))


@pytest.fixture(autouse=True)
def _modules_stay() -> Iterator[None]:
    """What NiceGUI's simulation does to forget the pages, it does to their packages too: it takes them from
    sys.modules, and the tests after it would import others than those that are held already."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "ensue"}
    yield
    sys.modules.update(before)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    torch.set_num_threads(1)
    world = World(tmp_path_factory.mktemp("studio"))
    texts = world.folder / "texts"
    texts.mkdir()
    for number in range(20):
        (texts / f"{number:02}.txt").write_text(sentences(number, 12), encoding="utf-8")
    prepare_files([texts], world.data, vocab=330, tokenizer=None, seed=0, display=Display(quiet=True))
    shape = "--recipe gpt2 --layers 2 --width 24 --heads 3 --context 48 --micro_batch 2 --batch.start 2 --batch.end 2"
    periods = "--evaluate_every 4 --save_every 6 --sample_every 6 --keep_checkpoints 0"
    train = ["train", str(world.data), "--run", str(world.run), "--steps", str(STEPS)]
    assert main([*train, *shape.split(), *periods.split(), "--sample_prompts", '["the fox", "狐狸"]']) == 0
    _tune(world)
    _evaluate(world)
    (world.folder / "raw").mkdir()
    for name, text in (("long", sentences(90, 3)), ("other", sentences(91, 3)), ("short", "<i>no</i>")):
        (world.folder / "raw" / f"{name}.txt").write_text(text, encoding="utf-8")
    curate({"raw": [str(world.folder / "raw")]}, [Short(12)], str(world.corpus), engine=Here())
    return world


def _tune(world: World) -> None:
    draw = random.Random(5)
    rows = [
        {"text": f"{word} {' '.join(draw.choices(WORDS, k=4))}", "label": "good" if word == "fine" else "bad"}
        for word in draw.choices(("fine", "poor"), k=24)
    ]
    table = world.folder / "labels.jsonl"
    table.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    Finetune(str(world.run), table, run=world.tuned, epochs=2, batch=6, precision="fp32").start()


def _evaluate(world: World) -> None:
    tasks, data = world.folder / "own_tasks.py", world.folder / "tasks"
    tasks.write_text(OWN_TASKS, encoding="utf-8")
    data.mkdir()
    for name, count in (("own_test", 20), ("own_train", 8)):
        rows = [
            {
                "id": i,
                "start": f"{WORDS[i % 9]} <b>{i}</b>",
                "ends": [WORDS[i % 5 + 3], WORDS[i % 6 + 9]],
                "right": i % 2,
            }
            for i in range(count)
        ]
        (data / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    out = world.evaluations / "fox"
    Evaluate(str(world.run), tasks=str(tasks), data=data, shots="0,1", out=out, device="cpu").start()
