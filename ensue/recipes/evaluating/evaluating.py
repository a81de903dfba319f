"""One evaluation from the beginning to its folder: ask, write down, count, draw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ensue.core.files import write_file_aside
from ensue.core.lock import locked
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
    identity = dict(scorer.identity())
    settings = _settings(identity, question, loaded)
    folder = out if out is not None else _folder(identity, settings)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
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


def _measure(
    scorer: Scorer, loaded: Loaded, shots: int, folder: Path, question: Question, display: Display
) -> dict[str, Any]:
    task, size = loaded.task, len(loaded.numbers)
    with display.bar(f"{task.name}, {shots} shots", size, f"{size:,} items") as bar:
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
        "model": {name: value for name, value in identity.items() if name != "path"},
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


def _folder(identity: Mapping[str, str], settings: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    parts = [part for part in Path(identity["path"]).parts if part not in ("/", "checkpoints", "final")]
    return FOLDER / f"{'-'.join(parts[-2:])}-{digest}"
