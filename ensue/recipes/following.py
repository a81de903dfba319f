"""What every process but the first does: what it is told, until it is told that the run is over."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from ensue.core.config import from_dict
from ensue.recipes.crew import GivenUp, Work, judge_of_the_leader
from ensue.recipes.data import Data
from ensue.recipes.display import Display
from ensue.recipes.failure import RunFailed
from ensue.recipes.parts import build_parts
from ensue.recipes.run_config import RunConfig
from ensue.train.engine import Diverged
from ensue.train.parallel import listen, rank_of_this, restarted, started_processes, tell, together
from ensue.train.schedule import Schedule

LOST = re.compile(r"(connection (was )?(closed|reset|refused)|broken pipe|socket|timed? ?out|NCCL)[^.\n]{0,60}", re.I)
"""What gloo and NCCL say when a process at the other end is gone."""

MEET_ANEW = (
    "Set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun: without it, processes that it starts again may look for "
    "the ones that are gone."
)

LOST_CODE = 5
"""Exit code of a process whose others are gone."""


@contextmanager
def crew() -> Iterator[bool]:
    """Meet the processes that torchrun started, and yield whether this one leads. The others have done their part of
    the run by then. Raises RunFailed in each that finds another one gone."""
    if started_processes() == 1:
        yield True
        return
    try:
        with together(on_gpu=torch.cuda.is_available()):
            if rank_of_this() > 0:
                follow()
                yield False
                return
            try:
                yield True
            finally:
                with suppress(RuntimeError):  # where the others are gone, nobody is left to tell
                    tell({"do": "end"})
    except RuntimeError as error:
        failure = lost(error, MEET_ANEW if restarted() else "")
        _tell_torchrun(failure or error)
        if failure is None:
            raise
        raise failure from error
    except Exception as error:
        _tell_torchrun(error)
        raise


def follow() -> None:
    """Do what the leader tells, until the end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the leader hears it too, finishes its step, and tells
    work: Work | None = None
    with suppress(Diverged):  # so it has for the leader, who says so
        while (order := listen())["do"] != "end":
            if order["do"] == "build":
                config = from_dict(RunConfig, order["config"])
                work = build_parts(config, Data(Path(order["data"])), None, Display(quiet=True)).crew.work
            else:
                assert work is not None
                _obey(work, order)


def how_to_start(processes: int | None = None) -> str:
    """The command of a run with so many processes, on this machine; as many as there are, on theirs, unless said."""
    wanted = started_processes() if processes is None else processes
    if wanted == 1:
        return "ensue"
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if processes is None else wanted
    more = f"--nnodes {wanted // here} ..." if wanted > here else "--standalone"
    return f"torchrun {more} --nproc-per-node {here} -m ensue.cli --"


def lost(error: RuntimeError, how_to_continue: str = "") -> RunFailed | None:
    """What to say where an error means that another process is gone; None where it means something else."""
    reason = LOST.search(str(error))
    if reason is None or started_processes() == 1:
        return None
    return RunFailed(
        f"process {rank_of_this()} of {started_processes()} has lost another one of this run ({reason[0]}). "
        f"{how_to_continue}".rstrip(),
        LOST_CODE,
    )


def _tell_torchrun(error: Exception) -> None:
    """Have torchrun end its own report with this, which would else be buried above it."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is not None:
        Path(path).write_text(json.dumps({"message": str(error), "timestamp": int(time.time())}), encoding="utf-8")


def _obey(work: Work, order: dict[str, object]) -> None:
    match order:
        case {"do": "step", "index": int(index), "schedule": dict(schedule), "moves": list(moves), "judged": judged}:
            work.engine.schedule = Schedule(**schedule)
            work.stream.moves = [(first, moved) for first, moved in moves]
            work.engine.judge = judge_of_the_leader if judged else None
            with suppress(GivenUp):
                work.engine.step(index)
        case {"do": "gather weights"}:
            work.gather_weights()
        case {"do": "gather optimizer"}:
            work.gather_optimizer()
        case {"do": "load", "checkpoint": str(checkpoint), "weights": bool(weights)}:
            work.load(Path(checkpoint), weights=weights)
        case {"do": "threads", "count": int(count)}:
            torch.set_num_threads(count)
        case {"do": "read", "limit_tokens": int() | None as limit, "stride": int() | None as stride}:
            work.held_out(limit_tokens=limit, stride=stride)
        case _:
            raise AssertionError(order)
