"""Tasks on the processes of this machine, which end with the one that started them however it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from ensue.text.curation.passes import Done, Task

WORKER_BYTES = 700 << 20
"""What a worker may come to hold: libraries (250 MB), a part in several forms, and the largest page being extracted."""

PRELOADED = ["ensue.text.curation.warm"]

TASKS_A_WORKER = 64
"""After so many a worker is replaced by a new one, since libraries keep what they could give back."""


class LocalEngine:
    """So many processes on this machine, as far as `memory` bytes allow."""

    def __init__(self, workers: int, memory: int) -> None:
        self.workers = max(1, min(workers, memory // WORKER_BYTES))

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """What each task did, in the order they finish. Raises what a task raised, or RuntimeError if a worker died."""
        # Forked from a process that has loaded the libraries and done nothing else, so that a pass begins at once.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        workers = min(self.workers, len(tasks))
        theirs, ours = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(
            workers, context, initializer=_end_with, initargs=(theirs,), max_tasks_per_child=TASKS_A_WORKER
        )
        waiting: set[Future[Done]] = set()
        left = iter(tasks)
        try:
            for task in left:
                waiting.add(pool.submit(task.run))
                if len(waiting) > workers:
                    yield from _finished(waiting)
            while waiting:
                yield from _finished(waiting)
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a worker process died, which the system does when memory runs out; what is finished is kept. Give the "
                "same command again to go on, with fewer --workers or a smaller --max-memory if it happens again."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            ours.close()


def _finished(waiting: set[Future[Done]]) -> Iterator[Done]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    waiting.difference_update(done)
    for future in done:
        yield future.result()


def _end_with(line: Connection) -> None:
    """Have this process end when the other end of the line closes, as it does when its holder ends, even if killed."""

    def watch() -> None:
        line.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
