"""kill -9 again and again, at random moments and while checkpoints are written, and files damaged in between.

Whatever happens, the run goes on from its newest whole checkpoint and ends with the very weights of an undisturbed one.
"""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = 320
MOST_STEPS_A_LIFE = 20


def is_saving(run: Path) -> bool:
    try:
        return any(".writing-" in path.name for path in (run / "checkpoints").iterdir())
    except FileNotFoundError:
        return False


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def wait_for_a_step(run: Path, pid: int) -> None:
    """Return when the process has told a step of its own, or has ended."""
    rows = size(run / "metrics.jsonl")
    while Path(f"/proc/{pid}/cmdline").read_bytes():
        now = size(run / "metrics.jsonl")
        if now > rows:
            return
        rows = now  # it forgets the steps that it runs again
        time.sleep(0.0005)


def whole_checkpoints(run: Path) -> list[Path]:
    folder = run / "checkpoints"
    return sorted(path for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


def damage(checkpoint: Path, draw: random.Random) -> str:
    """Flip a bit of, cut, empty or remove a file of a checkpoint."""
    path = draw.choice(sorted(checkpoint.iterdir()))
    held = path.read_bytes()
    kind = draw.choice(["flipped", "cut", "emptied", "removed"])
    place = draw.randrange(len(held))
    if kind == "flipped":
        path.write_bytes(held[:place] + bytes([held[place] ^ 1 << draw.randrange(8)]) + held[place + 1 :])
    elif kind == "removed":
        path.unlink()
    else:
        path.write_bytes(held[:place] if kind == "cut" else b"")
    return f"{path.name} {kind}"


def live(forker: Any, arguments: list[str], run: Path, draw: random.Random) -> tuple[int | None, str]:
    """One process: killed at once, some steps on, or in the middle of a save; or it ends by itself.

    Returns what it was killed at, or its exit code.
    """
    pid = forker.start(*arguments)
    moment = draw.choice(["soon", "steps", "steps", "save", "save"])
    rows = size(run / "metrics.jsonl")
    wanted = rows + 200 * draw.randrange(MOST_STEPS_A_LIFE)
    until = time.monotonic() + (draw.uniform(0, 0.3) if moment == "soon" else 60)
    while time.monotonic() < until and Path(f"/proc/{pid}/cmdline").read_bytes():
        now = size(run / "metrics.jsonl")
        rows = min(rows, now)  # it forgets the steps that it runs again
        if (moment == "steps" and now >= wanted) or (moment == "save" and now > wanted and is_saving(run)):
            break
        time.sleep(0.0005)
    time.sleep(draw.uniform(0, 0.003))
    saving = is_saving(run)
    os.kill(pid, signal.SIGKILL)
    code, said = forker.wait()
    if code != -signal.SIGKILL:
        return code, said
    return None, "save" if saving or is_saving(run) else moment


def test_many_kills_in_a_row(
    data: Path,
    forker: Any,
    train: Callable[..., list[str]],
    undisturbed: Callable[[int], Path],
    same_run: Callable[[Path, Path], None],
    tmp_path: Path,
) -> None:
    draw, run = random.Random(1), tmp_path / "run"
    kills: Counter[str] = Counter()
    damages: list[str] = []
    code = None
    while code is None:
        begun = bool(whole_checkpoints(run))
        arguments = ["train", "--resume", str(run)] if begun else train(data, run, STEPS)
        code, said = live(forker, arguments, run, draw)
        if code is None:
            kills[said] += 1
            whole = whole_checkpoints(run)
            if len(whole) > 1 and sum(kills.values()) > 6 * len(damages) + 3:
                damages.append(damage(whole[-1], draw))
        assert sum(kills.values()) < 400, "it goes forward in spite of all"
    assert code == 0, said
    assert sum(kills.values()) >= 30, kills
    assert kills["save"] >= 5, kills
    assert len(damages) >= 3, damages
    same_run(run, undisturbed(STEPS))
    told = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert len([event for event in told if event["event"] == "damaged"]) <= len(damages)
    code, said = forker.run("verify", run, "--steps", f"0:{STEPS}")
    assert (code, said.splitlines()[-2]) == (0, f"bit-identical: steps 1 to {STEPS}"), said


def test_many_stops_in_a_row(
    data: Path,
    forker: Any,
    train: Callable[..., list[str]],
    undisturbed: Callable[[int], Path],
    same_run: Callable[[Path, Path], None],
    tmp_path: Path,
) -> None:
    """SIGTERM, at random moments: each finishes its step, waits for its checkpoint, and says how to continue."""
    draw, run, steps = random.Random(2), tmp_path / "run", 200
    command = train(data, run, steps)
    stops, code = 0, 143
    while code == 143:
        pid = forker.start(*command)
        if stops < 5:
            wait_for_a_step(run, pid)
            time.sleep(draw.uniform(0, 0.05))
            os.kill(pid, signal.SIGTERM)
        code, said = forker.wait()
        if code == 143:
            stops += 1
            newest = whole_checkpoints(run)[-1]
            assert f"The newest checkpoint is {newest}" in said
            last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
            assert int(newest.name) == last
        command = ["train", "--resume", str(run)]
    assert code == 0, said
    assert stops == 5
    same_run(run, undisturbed(steps))
