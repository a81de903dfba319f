"""A wall clock that jumps by hours, both ways, each time anybody looks: nothing that a run does depends on it."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

JUMPS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

static long jump(void) {
    static unsigned state = 1;
    state = state * 1664525u + 1013904223u;
    return (long)(state >> 8) % 7200 - 3600;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += jump();
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec spec;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &spec);
    now->tv_sec = spec.tv_sec;
    now->tv_usec = spec.tv_nsec / 1000;
    return 0;
}
"""
"""The C library's clocks, of which only the wall's is changed; put before it by the loader."""


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process whose wall clock jumps."""
    folder = tmp_path_factory.mktemp("clock")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler here, or no loader that takes a library before the C library's own")
    (folder / "jumps.c").write_text(JUMPS)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "jumps.so", folder / "jumps.c", "-ldl"], check=True)
    return {**os.environ, "OMP_NUM_THREADS": "1", "LD_PRELOAD": str(folder / "jumps.so")}


def test_a_jumping_clock_changes_nothing(
    jumping: dict[str, str],
    data: Path,
    train: Callable[..., list[str]],
    undisturbed: Callable[[int], Path],
    same_run: Callable[[Path, Path], None],
    tmp_path: Path,
) -> None:
    """Not the weights, not what is told of seconds, and not when a run of so many minutes is over."""
    run, timed = tmp_path / "run", tmp_path / "timed"
    minutes = ["train", str(data), "--run", str(timed), "--minutes", "0.05", "--width", "16", "--heads", "1"]
    script = textwrap.dedent("""
        import json, sys, time
        readings = [time.time() for _ in range(100)]
        assert max(readings) - min(readings) > 1000, "the clock was to jump"
        from ensue.cli import main
        for arguments in json.loads(sys.argv[1]):
            began = time.monotonic()
            assert main(arguments) == 0
        print(time.monotonic() - began)
    """)
    began = time.monotonic()
    orders = json.dumps([train(data, run, 100), minutes])
    done = subprocess.run([sys.executable, "-c", script, orders], env=jumping, capture_output=True, text=True)
    taken = time.monotonic() - began
    assert done.returncode == 0, done.stdout + done.stderr
    same_run(run, undisturbed(100))
    for each in (run, timed):
        told = [json.loads(line) for line in (each / "metrics.jsonl").read_text().splitlines()]
        steps: list[dict[str, Any]] = [row for row in told if "loss" in row]
        elapsed = [row["elapsed"] for row in steps]
        assert elapsed == sorted(elapsed)
        assert 0 < elapsed[-1] < taken
        assert all(0 < row["seconds"] < taken and 0 < row["goodput"] <= 1 for row in steps)
    assert elapsed[-1] < 60, (
        "three seconds, or a few more on a busy machine, and none of the hours that the clock jumps"
    )
    assert len(steps) > 10 or float(done.stdout.split()[-1]) > 2.5, "or a busy machine took the time for something else"
