"""A small corpus written here, its prepared data, and the command line, in this process and in one of its own."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ensue.cli import main
from ensue.recipes.data import Data, prepare_files
from ensue.recipes.display import Display

TEXT = (
    "the a model reads one line of plain text and writes what ensues after it when rivers carry stones to sea under "
    "grey light people keep small books near windows naïve café 河流"
)
FILES = 24


def sentences(seed: int, count: int) -> str:
    """Sentences of random words, the same for the same seed."""
    draw, words = random.Random(seed), TEXT.split()
    lines = [" ".join(draw.choices(words, k=draw.randint(6, 14))).capitalize() + "." for _ in range(count)]
    return "\n".join(lines)


def in_own_process(*arguments: str | Path, code: str | None = None) -> subprocess.Popen[str]:
    """`ensue` with these arguments, or the Python `code` with them, started in a process of its own on one thread."""
    start = ["-m", "ensue.cli"] if code is None else ["-c", code]
    return subprocess.Popen(
        [sys.executable, *start, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sums in one order here and in the processes started here, so that bits can be compared."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "corpus0"  # in the ids of its documents, so always the same
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:02}.txt").write_text(sentences(number, 20), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def data(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Data:
    out = tmp_path_factory.mktemp("prepared") / "data"
    return prepare_files([corpus], out, vocab=300, tokenizer=None, seed=0, display=Display())


@pytest.fixture
def ensue(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """`ensue` in this process: its exit code, and all that it said."""

    def call(*arguments: str | Path) -> tuple[int, str]:
        capsys.readouterr()
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


@pytest.fixture(scope="session")
def start_process() -> Callable[..., subprocess.Popen[str]]:
    return in_own_process


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Options that make any recipe's model and steps small."""
    shape = "--layers 2 --width 16 --heads 2 --context 16 --micro_batch 3 --sample_every 0"
    return shape.split()
