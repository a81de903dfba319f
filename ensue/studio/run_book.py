"""All runs of a studio, read once for all of its pages."""

from __future__ import annotations

import threading
from pathlib import Path

from ensue.studio.run_curves import WatchedRun
from ensue.studio.run_list import find_runs


class RunBook:
    """The runs below a folder, by name. Any thread may use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs: dict[str, WatchedRun] = {}
        self._lock = threading.Lock()

    def refresh(self) -> list[WatchedRun]:
        """Look for runs and read on in each. One that has gone is told once more, as gone, and then forgotten."""
        with self._lock:
            for name in [name for name, run in self._runs.items() if run.state == "gone"]:
                del self._runs[name]
            for run in find_runs(self.folder):
                name = run.path.name if run.path == self.folder else run.path.relative_to(self.folder).as_posix()
                self._runs.setdefault(name, WatchedRun(name, run.path))
            for watched in self._runs.values():
                watched.refresh()
            return sorted(self._runs.values(), key=lambda watched: (watched.state != "running", watched.name))
