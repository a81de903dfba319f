"""The same corpus from any number of processes, from a killed run that goes on, and from a Ray cluster."""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ensue.core.lock import Locked, locked
from ensue.text.curation import units
from ensue.text.curation.cluster import RayEngine
from ensue.text.curation.curate import curate
from ensue.text.curation.local import WORKER_BYTES, LocalEngine
from ensue.text.curation.passes import Done, Task
from ensue.text.curation.step import Step
from ensue.text.curation.store import Store
from ensue.text.filters.length import Length

STEPS: list[Step] = [Length(least_characters=400), Length(most_characters=3000)]
WORDS = ["the", "sun", "rises", "over", "a", "quiet", "sea", "and", "small", "boats", "go", "out", "from", "here"]


def write_texts(folder: Path, files: int, documents: int) -> None:
    """JSON lines of a few kilobytes each, of which a step drops some."""
    folder.mkdir(parents=True)
    chance = random.Random(7)
    for number in range(files):
        with (folder / f"{number:03d}.jsonl").open("w", encoding="utf-8") as file:
            for _ in range(documents):
                text = " ".join(chance.choices(WORDS, k=chance.randint(20, 900)))
                file.write(json.dumps({"text": text}) + "\n")


def files_of(folder: Path) -> dict[str, bytes]:
    names = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in ("times.json", ".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


class Here:
    """An engine in this process: the slow twin of the others."""

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        return (task.run() for task in tasks)


@pytest.fixture(autouse=True)
def units_of_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there is work for several processes."""
    monkeypatch.setattr(units, "UNIT_FILES", 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Texts of several parts, and the corpus made of them in this process."""
    folder = tmp_path_factory.mktemp("engines")
    write_texts(folder / "texts", files=9, documents=900)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "UNIT_FILES", 1)
        curate({"own": [str(folder / "texts")]}, STEPS, str(folder / "here"), engine=Here())
    return folder / "texts", files_of(folder / "here")


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_processes_makes_the_same_bytes(
    made: tuple[Path, dict[str, bytes]], tmp_path: Path, workers: int
) -> None:
    texts, expected = made
    engine = LocalEngine(workers, 16 << 30)
    assert engine.workers == workers
    curate({"own": [str(texts)]}, STEPS, str(tmp_path / "corpus"), engine=engine)
    assert files_of(tmp_path / "corpus") == expected


def test_memory_limits_the_workers() -> None:
    assert LocalEngine(8, 2 * WORKER_BYTES).workers == 2
    assert LocalEngine(8, 1).workers == 1


CHILD = """
import sys
from ensue.text.curation import units
from ensue.text.curation.curate import curate
from ensue.text.curation.local import LocalEngine
from ensue.text.filters.length import Length
if __name__ == "__main__":
    units.UNIT_FILES = 1
    steps = [Length(least_characters=400), Length(most_characters=3000)]
    curate({"own": [sys.argv[1]]}, steps, sys.argv[2], engine=LocalEngine(int(sys.argv[3]), 16 << 30))
"""


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(
    made: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    texts, expected = made
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    out = tmp_path / "corpus"
    chance = random.Random(3)
    kills = 0
    for attempt in range(40):
        command = [sys.executable, str(script), str(texts), str(out), str(1 + attempt % 2)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, errors = process.communicate(timeout=chance.uniform(0.3, 0.8) * 1.1**attempt)  # until it is enough
            assert process.returncode == 0, errors.decode()
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            if (out / "corpus.json").exists():  # killed after its last write
                with pytest.raises(ValueError, match="finished"):
                    curate({"own": [str(texts)]}, STEPS, str(out), engine=Here())
                break
    assert kills >= 1
    assert files_of(out) == expected


def test_what_killed_processes_were_writing_is_gone_at_the_end(
    made: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    texts, expected = made
    out = tmp_path / "corpus"

    class Interrupted(Here):
        """Leaves half a file in each folder as it begins, as a killed process does."""

        def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
            for folder in [out, *(path for path in out.rglob("*") if path.is_dir())]:
                (folder / ".half.parquet.writing-999999").write_bytes(b"half")
            return super().run(tasks)

    curate({"own": [str(texts)]}, STEPS, str(out), engine=Interrupted())
    assert files_of(out) == expected


def test_workers_end_when_the_one_that_started_them_is_killed(
    made: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    process = subprocess.Popen([sys.executable, str(script), str(made[0]), str(tmp_path / "corpus"), "2"])
    deadline = time.monotonic() + 60
    while len(children := _descendants(process.pid)) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)  # a resource tracker, a process to fork from, and two workers
    assert len(children) >= 3
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while any(map(_runs, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_runs, children))


def test_two_processes_on_one_corpus(made: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    out.mkdir()
    with locked(out), pytest.raises(Locked, match="another process is making"):
        curate({"own": [str(made[0])]}, STEPS, str(out), engine=Here())
    assert out.is_dir()


def test_a_worker_that_dies_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "import os, signal\nclass Killed:\n    def run(self):\n        os.kill(os.getpid(), signal.SIGKILL)\n"
    (tmp_path / "task_that_is_killed.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    task = importlib.import_module("task_that_is_killed").Killed()
    with pytest.raises(RuntimeError, match="a worker process died"):
        list(LocalEngine(1, 16 << 30).run([task]))


def test_a_ray_cluster_of_two_nodes_makes_the_same_bytes(made: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    cluster_module = pytest.importorskip("ray.cluster_utils")
    texts, expected = made
    cluster = cluster_module.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8}
    )
    cluster.add_node(num_cpus=1, object_store_memory=10**8)
    try:
        engine = RayEngine(address=cluster.address)
        curate({"own": [str(texts)]}, STEPS, str(tmp_path / "corpus"), engine=engine)
        assert len(ray.nodes()) == 2
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert not any("usage" in thread.name for thread in threading.enumerate())  # which would still run at exit
    assert files_of(tmp_path / "corpus") == expected
    assert Store(tmp_path / "corpus").names("documents")


def _descendants(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        children = [int(child) for child in path.read_text().split()]
    except OSError:
        return []
    return [*children, *(below for child in children for below in _descendants(child))]


def _runs(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    try:
        return path.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
