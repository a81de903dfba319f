"""The extractor in a process of its own, whose time and memory the kernel limits, whatever code it is in."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import weakref
from multiprocessing import Pipe, current_process, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from ensue.text.web.main_text import MainText, main_text

MEMORY_BYTES = 4 << 30
TOO_LONG = "the extractor took too long"
TOO_MUCH = "the extractor ran out of memory"
CRASHED = "the extractor crashed"

FORKED_MAIN = "__mp_main__"
"""The main module's name in processes that multiprocessing's server has forked."""

Answer = MainText | str
_Child = subprocess.Popen[bytes] | BaseProcess


class Extractor:
    """Runs `main_text` for one page after another in a child process, which is started when first needed, again after
    a page that it could not survive, and once more in a process forked from this one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._owner = 0
        self._child: _Child | None = None
        self._line: Connection | None = None

    def extract(self, html: str, *, url: str, fetched: str, comments: bool, tables: bool, enough: int) -> Answer:
        """The main text, or why there is none: one of TOO_LONG, TOO_MUCH, CRASHED."""
        line = self._started()
        try:
            page = html.encode("utf-8", "replace")  # which is what it is read as, most often
            line.send((self._seconds, page, url, fetched, comments, tables, enough))
            answer: Answer = line.recv()
        except (EOFError, OSError):
            return self._reason_of_death()
        return answer

    def _started(self) -> Connection:
        if self._line is None or self._owner != os.getpid():
            ours, theirs = Pipe()
            with theirs:
                self._child = _forked(theirs, ours) if _is_worker() else _started_anew(theirs)
            self._line, self._owner = ours, os.getpid()
            weakref.finalize(self, _stop, ours, self._child, self._owner)
        return self._line

    def _reason_of_death(self) -> str:
        assert self._child is not None
        assert self._line is not None
        self._line.close()
        self._line = None
        return TOO_LONG if _end_of(self._child) == -signal.SIGPROF else CRASHED


def _is_worker() -> bool:
    """Whether multiprocessing's server has forked this process, to work and with leave to have children."""
    return sys.modules["__main__"].__name__ == FORKED_MAIN and not current_process().daemon


def _forked(line: Connection, ours: Connection) -> BaseProcess:
    """A child forked from this process, which is a worker that holds no locks, with the libraries it has loaded."""

    def serve() -> None:
        ours.close()
        _serve(line)

    child = get_context("fork").Process(target=serve, daemon=True)
    child.start()
    return child


def _started_anew(line: Connection) -> subprocess.Popen[bytes]:
    """A child that is a Python of its own, since this process may have threads with locks that a fork would copy."""
    return subprocess.Popen(
        [sys.executable, "-m", "ensue.text.web.extractor", str(line.fileno())],
        pass_fds=[line.fileno()],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def _end_of(child: _Child) -> int | None:
    """How a child ended, once it has: minus the signal's number if it was one."""
    if isinstance(child, subprocess.Popen):
        return child.wait()
    child.join()
    return child.exitcode


def _stop(line: Connection, child: _Child, owner: int) -> None:
    line.close()
    if owner == os.getpid():
        _end_of(child)


def _serve(line: Connection) -> None:
    """Answer until nobody asks. The alarm's time is that of the processor, so a busy machine makes no difference; its
    signal ends the process, in the middle of C code too."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    limit = MEMORY_BYTES + pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's business: the child ends with it
    logging.disable(logging.CRITICAL)
    for enough in (1, 10_000):
        main_text("<html><body><p>What is loaded for the first page is not to count as its time.</p>", enough=enough)
    gc.freeze()  # the libraries are no garbage
    while True:
        try:
            seconds, html, url, fetched, comments, tables, enough = line.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer: Answer
        try:
            answer = main_text(html, url=url, fetched=fetched, comments=comments, tables=tables, enough=enough)
        except MemoryError:
            answer = TOO_MUCH
        except Exception:  # a library met what it did not expect in this page; the next one is another matter
            answer = CRASHED
        signal.setitimer(signal.ITIMER_PROF, 0)
        line.send(answer)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
