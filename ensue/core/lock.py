"""One process at a time in a run folder: a lock that the system takes back when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"


class Locked(ValueError):
    """Another process works in the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process while the block runs. Raises Locked, naming the process that has it.

    The file `.lock` stays behind and means nothing: what counts is the lock that the system keeps on it, which ends
    with the process even under kill -9. Processes that this one forks hold it too, for as long as they live.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Locked(_holder(folder)) from error
        os.truncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        os.close(descriptor)


def _holder(folder: Path) -> str:
    try:
        record = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        pid, host = int(record["pid"]), str(record["host"])
    except (ValueError, KeyError, TypeError):  # it has the lock, and has not yet written who it is
        return f"another process is working in {folder}; wait until it is done, or use another folder with --run."
    where = "" if host == socket.gethostname() else f" on {host}"
    return (
        f"process {pid}{where} is working in {folder}. Wait until it is done, or let it finish its step and stop it:\n"
        f"  kill {pid}\nTo start another run, give --run a new name."
    )
