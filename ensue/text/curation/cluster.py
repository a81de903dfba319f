"""Tasks on a Ray cluster, through Ray Data: the same tasks as on one machine, so the same bytes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from ensue.text.curation.passes import Done, Task


class RayEngine:
    """A Ray cluster: the one at `address` ("auto" for the one this machine belongs to), or one started here.

    `workers` limits how many tasks run at once; None lets Ray use all its cores. Every machine must reach the sources
    and the corpus under the same names, and have Ensue installed.
    """

    def __init__(self, *, workers: int | None = None, address: str | None = None) -> None:
        self.workers, self.address = workers, address

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """What each task did, in the order they finish. Raises what a task raised."""
        ray = _ray()
        if not ray.is_initialized():
            ray.init(address=self.address, log_to_driver=False, include_dashboard=False)
        rows = [{"task": pickle.dumps(task)} for task in tasks]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(_run, concurrency=self.workers)
        try:
            for row in dataset.iter_rows():
                yield pickle.loads(row["done"])
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, (ValueError, OSError)) else error from error


def _run(row: dict[str, Any]) -> dict[str, Any]:
    task: Task = pickle.loads(row["task"])
    return {"done": pickle.dumps(task.run())}


def _ray() -> Any:
    # Nobody is told how Ray is used unless the user says so, and no thread that gathers it outlives the work.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError("--engine ray needs Ray; type: pip install 'ensue[ray]'") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    return ray
