"""A disk that fills up at any moment: the run says so, loses nothing, and goes on once there is room."""

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STEPS = 100


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB in memory, of which a run needs a quarter."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small disk to fill")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_a_disk_that_fills_up(
    disk: Path,
    data: Path,
    forker: Any,
    train: Callable[..., list[str]],
    undisturbed: Callable[[int], Path],
    same_run: Callable[[Path, Path], None],
) -> None:
    draw, run = random.Random(3), disk / "run"
    command, full = train(data, run, STEPS), 0
    while full < 6:
        pid = forker.start(*command)
        before = (run / "metrics.jsonl").read_bytes() if (run / "metrics.jsonl").exists() else b""
        while Path(f"/proc/{pid}/cmdline").read_bytes():
            if (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").read_bytes() != before:
                break
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.06))
        fill(disk / "filler")
        code, said = forker.wait()
        (disk / "filler").unlink()
        if code == 0:
            break
        assert code == 4, said
        assert "No space left on device" in said
        assert "Free some space" in said
        full += 1
        command = ["train", "--resume", str(run)]
    assert full >= 3
    code, said = forker.run("train", "--resume", run)
    assert code == 0, said
    same_run(run, undisturbed(STEPS))
    code, said = forker.run("verify", run, "--steps", f"0:{STEPS}")
    assert code == 0, said
