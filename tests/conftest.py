"""Fixtures shared by every test: published data where there is any, and processes that are cheap to start and kill."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ensue", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ensue")  # a busy machine is slow, and not wrong


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Books, web pages and the published tokenizers in `../shared/data`; skips where they are absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the published data is not beside this clone (../shared/data)")
    return folder


FORKER = """
import json, os, signal, sys
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot, torch._dynamo  # once here, and not in each of the processes below
import ensue.recipes.start
from ensue.cli import main
from ensue.recipes.environment import source_digest
from ensue.train.engine import Engine

source_digest()  # of what is imported, whatever is edited meanwhile
step = Engine.step

def patch(signals):
    count = 0
    def counted(engine, index):
        nonlocal count
        count += 1
        if str(count) in signals:
            os.kill(os.getpid(), getattr(signal, signals[str(count)]))
        return step(engine, index)
    Engine.step = counted

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        for descriptor in (1, 2):
            os.dup2(os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), descriptor)
        patch(order["signals"])
        try:
            code = main(order["arguments"])
        finally:
            sys.stdout.flush()
        os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Starts `ensue` again and again, each time in a process of its own that has everything imported already."""


class Forker:
    """One process at a time: `start` gives its number, `wait` its exit code and all that it said."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self._process, self._output = process, output

    def start(self, *arguments: str | Path | float, signals: dict[int, str] | None = None) -> int:
        """`ensue` with these arguments; `signals` are sent to itself before so-and-so many steps, counted from 1."""
        self._output.unlink(missing_ok=True)
        order = {"arguments": list(map(str, arguments)), "output": str(self._output), "signals": signals or {}}
        assert self._process.stdin is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return int(self._line())

    def wait(self) -> tuple[int, str]:
        code = int(self._line())
        return code, self._output.read_text(encoding="utf-8") if self._output.exists() else ""

    def run(self, *arguments: str | Path | float, signals: dict[int, str] | None = None) -> tuple[int, str]:
        self.start(*arguments, signals=signals)
        return self.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that starts the others has died"
        return line


@pytest.fixture(scope="session")
def forker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    """Processes on one thread each, so that bits can be compared, without the seconds that imports take."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        yield Forker(process, tmp_path_factory.mktemp("forker") / "said")
        assert process.stdin is not None
        process.stdin.close()
