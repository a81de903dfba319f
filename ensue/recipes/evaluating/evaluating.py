"""One evaluation from the beginning to its folder: ask, write down, count, draw."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.core.files import write_file_aside
from ensue.core.lock import Locked, locked
from ensue.evaluate.loading import Loaded, load_task
from ensue.evaluate.measuring import measure
from ensue.evaluate.results import CURVE, RESULTS, TABLE, claim_folder, items_path, result_of
from ensue.evaluate.scorer import Scorer
from ensue.evaluate.task import Task
from ensue.recipes.display import Display
from ensue.recipes.environment import environment
from ensue.recipes.evaluating.curves import draw_curve
from ensue.recipes.evaluating.tables import as_markdown

FOLDER = Path("evaluations")
DROPPED = ("/", "checkpoints", "final")
"""Of a model's path, in the name of its folder there."""

PLACES = ("path", "server")
"""Where a model is, which changes no number."""


@dataclass(frozen=True)
class Question:
    """What is measured: tasks, numbers of examples, and what is drawn how; `data` is where the files are."""

    tasks: tuple[Task, ...]
    data: Path
    shots: tuple[int, ...] = (0,)
    limit: int | None = None
    seed: int = 0
    same_shots: bool = False


def evaluate(scorer: Scorer, question: Question, out: Path | None, *, display: Display) -> tuple[Path, dict[str, Any]]:
    """Measure, or go on where the same evaluation was stopped; the folder, and what its results.json holds.

    Without `out`, a folder in evaluations/ named by the model and a digest of the settings. Raises ValueError or
    FileNotFoundError for what cannot be measured, before anything is.
    """
    loaded = [
        load_task(
            task,
            question.data,
            shots=max(question.shots),
            limit=question.limit,
            seed=question.seed,
            same_shots=question.same_shots,
        )
        for task in question.tasks
    ]
    identity = _named(scorer.identity())
    settings = _settings(identity, question, loaded)
    folder = out if out is not None else _folder(identity, settings)
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder):
        claim_folder(folder, settings)
        results = [
            _measure(scorer, task, shots, folder, question, display) for task in loaded for shots in question.shots
        ]
        told = {
            "model": identity,
            "tasks": {task.task.name: _about(task) for task in loaded},
            "settings": {name: settings[name] for name in ("shots", "limit", "seed", "same_shots")},
            "environment": environment(),
            "results": results,
        }
        write_file_aside(folder / TABLE, as_markdown(told))
        if len(question.shots) > 1:
            draw_curve(results, folder / CURVE)
        write_file_aside(folder / RESULTS, json.dumps(told, indent=1, allow_nan=False) + "\n")
    return folder, told


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder for this process alone."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except Locked as error:
            raise ValueError(
                f"another process evaluates into {folder}; wait until it is done, or give --out a new name."
            ) from error
        yield


def _measure(
    scorer: Scorer, loaded: Loaded, shots: int, folder: Path, question: Question, display: Display
) -> dict[str, Any]:
    task, size = loaded.task, len(loaded.numbers)
    with display.bar(f"{task.name}, {shots} {'shot' if shots == 1 else 'shots'}", size, f"{size:,} items") as bar:
        records = measure(
            loaded,
            scorer,
            items_path(folder, task.name, shots),
            shots=shots,
            seed=question.seed,
            on_items=bar.advance,
        )
    return result_of(task, shots, records, seed=question.seed)


def _settings(identity: Mapping[str, str], question: Question, loaded: Sequence[Loaded]) -> dict[str, Any]:
    """Everything that the numbers depend on; where the model and the files lie is not among it."""
    return {
        "format": 1,
        "model": {name: value for name, value in identity.items() if name not in PLACES},
        "tasks": {task.task.name: task.digests for task in loaded},
        "shots": list(question.shots),
        "limit": question.limit,
        "seed": question.seed,
        "same_shots": question.same_shots,
    }


def _about(loaded: Loaded) -> dict[str, Any]:
    return {
        "about": loaded.task.about,
        "scoring": loaded.task.scoring,
        "digests": loaded.digests,
        "files": [str(path) for path in loaded.test.paths],
        "rows": len(loaded.rows),
    }


def _named(identity: Mapping[str, str]) -> dict[str, str]:
    """With a `path` in any case, by which people know the model: of a served one, as it was typed."""
    return {"path": f"{identity.get('name')}@{identity.get('server')}", **identity}


def _folder(identity: Mapping[str, str], settings: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    parts = [part for part in Path(identity.get("name", identity["path"])).parts if part not in DROPPED]
    name = re.sub(r"[^\w.-]+", "-", "-".join(parts[-2:]))
    return FOLDER / f"{name}-{digest}"
